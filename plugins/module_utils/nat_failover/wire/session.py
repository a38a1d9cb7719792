# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay protection of the heartbeats with one peer (law L12). Pure: no sockets, no clocks.

Within one boot of the sender, sequence numbers only grow. A boot id that is not known yet is bound
only by a packet that echoes this node's boot id and a sequence number that this node sent within
the last ``BIND_WITHIN`` seconds. A recording cannot do that.

A number that leaps would make all later packets of the genuine peer look old. So a number that no
service reaches in the time needs such an echo, too. A peer whose numbers are far lower goes on as
soon as it echoes a newer packet of this node than all accepted packets did: no recording can do
that either.

A flood of recorded packets must not keep this node from echoing the packets of the peer, or the
peer could not bind it. So the runs of a peer's service are echoed by turns.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from .codec import Packet

# Seconds: the highest age of the packet of this node that binds a new boot id of a peer
BIND_WITHIN = 5.0
FASTEST = 1000.0  # packets a second: more than probes every 5 ms, and answers to as many
LEAP = 10_000  # packets more than that make a leap
IMPOSSIBLE = 1 << 48  # packets, which take 9000 years at that pace
REORDERED = 64  # packets that one may overtake on the way
RUNS = 16  # runs of a peer's service that are echoed by turns


class Echoes:
    """The newest packet of each run of a peer's service that was received lately, bound or not."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, tuple[int, float]] = OrderedDict()  # boot id -> (number, when)

    def hear(self, packet: Packet, now: float, *, fresh: bool = False) -> None:
        """Keep the packet, if it is the newest of its run. A run that is new is echoed next.

        ``fresh``: it is no recording, so it is the newest whatever its number is.
        """
        known = self._newest.get(packet.boot_id)
        newest = packet.seq if fresh or known is None else max(packet.seq, known[0])
        self._newest[packet.boot_id] = (newest, now)
        if known is None:
            self._newest.move_to_end(packet.boot_id, last=False)
            if len(self._newest) > RUNS:
                self.forget(min(self._newest, key=lambda boot: self._newest[boot][1]))

    def forget(self, boot_id: str) -> None:
        """Echo a run no more."""
        self._newest.pop(boot_id, None)

    def turn(self, bound: str, now: float) -> tuple[str, int]:
        """The (boot id, number) that the packet being sent now echoes, or ("", 0).

        The run that is bound is always echoed. Another one is forgotten after ``BIND_WITHIN``
        seconds, since no number of it could bind any more.
        """
        if len(self._newest) > 1:
            for boot in [each for each, (_seq, at) in self._newest.items() if now - at > BIND_WITHIN]:
                if boot != bound:
                    self.forget(boot)
        for boot, (seq, _at) in self._newest.items():
            self._newest.move_to_end(boot)
            return boot, seq
        return "", 0


class Session:
    """Packets sent to and accepted from one peer. Times are monotonic seconds of this node."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self.seq = 0
        self.peer_boot = ""
        self.peer_seq = 0
        self.leapt: tuple[int, int] = (0, 0)  # the last leap that was refused: from, to
        self._accepted_at = 0.0
        self._echoed = 0  # the newest number of this node that the peer has echoed
        self._echoes = Echoes()
        # At a probe every 5 ms, still 5 s
        self._sent: deque[tuple[float, int]] = deque(maxlen=1024)
        self._retired: deque[str] = deque(maxlen=32)  # boot ids that were bound before: never again

    def next_seq(self, now: float) -> int:
        """The sequence number of the packet being sent now."""
        self.seq += 1
        self._sent.append((now, self.seq))
        return self.seq

    def echo(self, now: float) -> tuple[str, int]:
        """The (boot id, number) of the peer that the packet being sent now echoes, or ("", 0)."""
        return self._echoes.turn(self.peer_boot, now)

    def renew(self) -> None:
        """Another machine has this name now.

        Only a peer that receives packets sent after this call may bind.
        """
        self.peer_boot, self.peer_seq, self._echoed, self._echoes = "", 0, 0, Echoes()
        self._sent.clear()

    def knows(self, boot_id: str) -> bool:
        """Whether this run of the peer's service is bound, or was bound before."""
        return boot_id == self.peer_boot or boot_id in self._retired

    def accept(self, packet: Packet, now: float) -> str:
        """Judge an authentic packet.

        Returns "" if it is fresh, else the name of the counter that it moves: ``replayed``,
        ``unbound``, ``late`` or ``leapt``.
        """
        if packet.boot_id in self._retired:
            return "replayed"
        if packet.seq >= IMPOSSIBLE:
            return self._leap(packet)
        if packet.boot_id == self.peer_boot:
            if packet.seq <= self.peer_seq and not self._goes_on(packet, now):
                return "replayed"
            reached = self.peer_seq + LEAP + FASTEST * (now - self._accepted_at)
            if packet.seq > reached and self._refuse_binding(packet, now):
                return self._leap(packet)
        else:
            refused = self._refuse_binding(packet, now)
            if refused:
                self._echoes.hear(packet, now)
                return refused
            if self.peer_boot:
                self._retired.append(self.peer_boot)
                self._echoes.forget(self.peer_boot)
            self._echoed = 0
        self.peer_boot, self.peer_seq = packet.boot_id, packet.seq
        self._echoes.hear(packet, now, fresh=True)
        self._accepted_at = now
        if packet.echo_boot == self._boot_id and packet.echo_seq <= self.seq:
            self._echoed = max(self._echoed, packet.echo_seq)
        return ""

    def _leap(self, packet: Packet) -> str:
        self.leapt = (self.peer_seq if packet.boot_id == self.peer_boot else 0, packet.seq)
        return "leapt"

    def _goes_on(self, packet: Packet, now: float) -> bool:
        """Whether a packet with a low number was made after all accepted ones, by its echo."""
        if packet.seq > self.peer_seq - REORDERED or packet.echo_seq <= self._echoed:
            return False
        return self._refuse_binding(packet, now) == ""

    def _refuse_binding(self, packet: Packet, now: float) -> str:
        if packet.echo_boot != self._boot_id or not 0 < packet.echo_seq <= self.seq:
            return "unbound"
        while self._sent and now - self._sent[0][0] > BIND_WITHIN:
            self._sent.popleft()
        return "" if self._sent and packet.echo_seq >= self._sent[0][1] else "late"
