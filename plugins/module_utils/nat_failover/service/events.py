# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events: one line each in the journal and in the history file.

The last ones stay in memory for ``status``. Each verdict carries its evidence (law L11).
"""

from __future__ import annotations

import logging
import typing as t
from collections import Counter, deque

from ..model.evidence import HEALTHY, UNKNOWN, Mark
from ..model.memory import Memory, PeerMemory
from ..model.plan import Plan
from ..model.text import plain
from ..runtime.base import Runtime
from .incidents import Incidents

LOG = logging.getLogger("nat-failover")
KEPT = 200  # events in memory
# A line that ends and begins again is emitted at most so often in so many seconds. A stranger who
# writes and removes a tag again and again fills no journal
MOST, WITHIN = 3, 60.0


class EventLog:
    """Keeps the last events, and derives new ones from each decision.

    ``drift``, ``warnings`` and ``withheld`` are the lines of the last decision, by the key that
    the plan gives them. ``counts`` is the number of events of each kind since the start.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.events: deque[dict[str, t.Any]] = deque(maxlen=KEPT)
        self.counts: t.Counter[str] = Counter()
        self.drift: t.Mapping[str, str] = {}
        self.withheld: t.Mapping[str, str] = {}
        self.warnings: t.Mapping[str, str] = {}
        self._runtime = runtime
        self.incidents = Incidents(runtime, self.emit)
        self.seq = 0  # number of the last event. The service sets it to that of the history at its start
        self.lost: t.Callable[[], int] = lambda: 0  # lines that journal or history lack
        self.unwritten: t.Callable[[], str] = lambda: ""  # why the history takes no events. Empty: it does
        self._begun: deque[tuple[float, str]] = deque()  # when a line was emitted of late, kind and key
        self._late: dict[str, float] = {}  # peer -> start of the last silence that was reported
        self._quiet: dict[str, float] = {}  # peer -> start of a silence whose end is still to be reported
        # Kind -> key of a line that stands and was emitted -> its begin
        self._standing: dict[str, dict[str, float]] = {"drift": {}, "warning": {}, "withheld": {}}
        self._fenced_by = ""

    def emit(self, kind: str, text: str, level: int = logging.INFO, **more: t.Any) -> None:
        """Record one event. ``more`` goes into the history file and into ``status --json`` only."""
        text = plain(text)
        self.incidents.notice(kind, text, level)
        self.seq += 1
        at, monotonic = round(self._runtime.wall_time(), 3), round(self._runtime.now(), 3)
        self.counts[kind] += 1
        event = {"at": at, "monotonic": monotonic, "kind": kind, "text": text, "seq": self.seq, **more}
        if self.incidents.id:
            event["incident"] = self.incidents.id
        self.events.append(event)
        LOG.log(level, "%s: %s", kind, text, extra={"event": event})

    def follow(self, before: Memory, after: Memory, plan: Plan, now: float, late_after: float) -> None:
        """Emit the changes that a decision made: verdicts, drift, withheld actions, late peers.

        A peer is late once it is silent for ``late_after`` seconds. ``now``: seconds of
        ``Runtime.now``.
        """
        for name, peer in after.peers.items():
            self._lateness(name, peer, now, late_after)
            old = before.peers.get(name)
            if old is None or old.verdict != peer.verdict:
                text = f"{name} is {peer.verdict}: {peer.evidence or 'no packet yet'}"
                level = logging.INFO if peer.verdict in (HEALTHY, UNKNOWN) else logging.WARNING
                more = {} if old is None else {"before": old.verdict, "lasted_s": round(now - old.since, 3)}
                if peer.suspected_at is not None:
                    more["silent_ms"] = round((now - peer.suspected_at) * 1000)
                self.emit("verdict", text, level, peer=name, verdict=peer.verdict, **more)
        withheld = {str(action): f"{action.reason}; withheld: {plan.forbidden}" for action in plan.withheld}
        for kind, new, old_lines in (
            ("drift", plan.drift, self.drift),
            ("warning", plan.warnings, self.warnings),
            ("withheld", withheld, self.withheld),
        ):
            for key in new.keys() - self._standing[kind].keys():
                if self._is_news(f"{kind} {key}", now):
                    self._standing[kind][key] = now
                    self.emit(kind, new[key], logging.WARNING, key=key)
            for key in self._standing[kind].keys() - new.keys():
                lasted = now - self._standing[kind].pop(key)
                text = f"over after {lasted:.0f} s: {old_lines[key]}"
                self.emit(f"{kind}_ended", text, key=key, lasted_s=round(lasted, 1))
        self.drift, self.warnings, self.withheld = plan.drift, plan.warnings, withheld

    def _is_news(self, line: str, now: float) -> bool:
        """Whether a line was not emitted often of late. Then it is noted as emitted."""
        while self._begun and now - self._begun[0][0] >= WITHIN:
            self._begun.popleft()
        news = sum(each == line for _at, each in self._begun) < MOST
        if news:
            self._begun.append((now, line))
        return news

    def _lateness(self, name: str, peer: PeerMemory, now: float, late_after: float) -> None:
        """Emit one event for each silence that is longer than a lost packet, also if it ends well."""
        began = peer.suspected_at
        if began is None and name in self._quiet:
            lasted = now - self._quiet.pop(name)
            if peer.verdict == HEALTHY:
                text = f"{name}: heartbeats arrive again after {int(lasted * 1000)} ms"
                self.emit("late_ended", text, peer=name, lasted_s=round(lasted, 3))
        if began is None or peer.verdict != HEALTHY or now - began < late_after or self._late.get(name) == began:
            return
        self._late[name] = self._quiet[name] = began
        self.emit(
            "late", f"{name}: no heartbeat for {int((now - began) * 1000)} ms, probing by UDP and ICMP", peer=name
        )

    def follow_fence(self, own: Mark | None) -> None:
        """Report a fence of this node, which only its mark shows after the restart."""
        fencer, stage = (own.fencer, own.stage) if own is not None else ("", "")
        if fencer and fencer != self._fenced_by:
            done = "stopped this node and started it again" if stage == "started" else "is about to stop this node"
            text = f"{fencer} {done}; the journal of {fencer} has the reason"
            self.emit("fenced_by", text, logging.WARNING, peer=fencer, stage=stage)
        self._fenced_by = fencer
