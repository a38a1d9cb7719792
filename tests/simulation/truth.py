# SPDX-License-Identifier: GPL-3.0-or-later
"""The truth over time, which an observer knows and no node does. The laws are judged by it."""

from __future__ import annotations

import typing as t

from nat_failover.model.cluster import ACTIVE, TAG_DRAINED, TAG_MAINTENANCE, TAG_PAUSE, Claim

from .cloud import Cloud
from .host import Host
from .network import Network
from .table import Table
from .timeline import Timeline
from .violation import Violation

KNOWN = 4.0  # seconds until it knows that its uplink is gone, if nobody is suspected: the pause between two internet checks, and three that fail
TAGGED = 7.0  # seconds until a node knows an operator's tag
LOOK = 0.25  # seconds between looks at the truth
MOMENT = 1.5  # seconds between two readings of EC2 under suspicion, with their latency
ILL = 2.75  # seconds for which a service fails at the least before that counts: readings in a row
BETWEEN = 1.25  # seconds between two readings of its file, at the most
ILL_KNOWN = 6.0  # seconds after which its node knows, and all that hear it


class Truth:
    """Watches one world. Each moment ``..._at`` is the last one at which something was so, each ``..._for`` how long it has been."""

    def __init__(
        self, timeline: Timeline, network: Network, cloud: Cloud, table: Table, hosts: t.Mapping[str, Host]
    ) -> None:
        self.timeline, self.network, self.cloud, self.table, self.hosts = timeline, network, cloud, table, hosts
        self.config = config = next(iter(hosts.values())).config
        self.locked = config.witness.table is not None  # a fence needs the lock
        self.lease = config.witness.lease
        # (node, Elastic IP) -> (when the node last decided to take it, the claims that it comes after)
        self.promised: dict[tuple[str, str], tuple[float, tuple[Claim, ...]]] = {}
        self.unable_at = dict.fromkeys(hosts, -3600.0)  # last look at which it could not have renewed the lock
        self.fence_after, self.return_after = config.fence.after, config.returns.after
        past = -3600.0
        self.bad_at = dict.fromkeys(
            hosts, past
        )  # last look at which it had not forwarded for so long that it must know
        self.bad_for = dict.fromkeys(hosts, 0.0)
        self.mute_at = dict.fromkeys(hosts, past)  # last look at which it could not have shown a flare
        self.unfit_at = dict.fromkeys(hosts, past)  # last look at which a peer had any reason to doubt it
        self.alive_at = dict.fromkeys(hosts, 0.0)  # last look at which its service ran
        self.blind_at = dict.fromkeys(hosts, past)  # last look at which it could not read EC2
        self.away_at = dict.fromkeys(hosts, past)  # last look at which its service did not run
        self.away_for = dict.fromkeys(hosts, 0.0)
        self.slept_at = dict.fromkeys(hosts, past)  # last look at which it had not run for longer than a silence
        self.deaf_at = dict.fromkeys(hosts, past)  # last look at which its kernel did not NAT, or not answer everybody
        self.spared_since: dict[str, float] = {}  # since when it carries a tag that forbids a fence
        self.cut_off_since: dict[str, float] = {}  # since when a node could hear none of the others
        self.alone_since: dict[str, float] = {}  # the same, of those that lived
        self.well_for = dict.fromkeys(hosts, 3600.0)  # seconds for which its service has worked
        self.ill_for = dict.fromkeys(hosts, 0.0)  # seconds for which its service has failed
        self.ill_at = dict.fromkeys(hosts, past)  # last look at which that had lasted for so long that it may count
        self.ill_seen_for = dict.fromkeys(hosts, 0.0)  # the same, while the node could see it
        self.ill_seen_at = dict.fromkeys(hosts, past)  # last look at which it had to know
        self.hampered_at = past  # last look at which anything could delay a hand-over
        self.pauses: dict[str, float] = {}  # until when, by the node that carries the tag
        self.paused_at: float | None = None  # since when the pause is to be known
        self.marked_at: dict[tuple[str, str], float] = {}  # when a node last marked another one for a fence
        self.written_at: dict[Claim, float] = {}
        self.found_at: dict[Claim, float] = {}  # until when the table of a claim need not be known

    @property
    def paused_until(self) -> float:
        tags = self.cloud.state.tags
        return max((until for name, until in self.pauses.items() if TAG_PAUSE in tags[name]), default=-3600.0)

    def break_(self, law: str, text: str) -> t.NoReturn:
        raise Violation(f"{law}: {text}")

    # --- over time ---------------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Called every ``LOOK`` seconds."""
        now, cloud, network = self.timeline.now, self.cloud, self.network
        # An answer that takes nearly as long as silence may last is one that does not come.
        slow = 2 * (network.delay + network.jitter) > self.config.heartbeat.silent_after / 2
        disturbed = network.disturbed() or slow
        for name, host in self.hosts.items():
            self.bad_for[name] = 0.0 if host.forwards else self.bad_for[name] + LOOK
            if self.bad_for[name] > KNOWN:
                self.bad_at[name] = now
            acts = host.running and host.reaches_ec2()
            refused = cloud.refusal(name, "Flare", name) or (name, "CreateTags") in cloud.denied
            flares = not (cloud.stale or cloud.hindered or refused)
            shows = self.locked and not (self.table.hindered or (name, "PutItem") in self.table.denied)
            if not acts or not (flares or (shows and host.service.collector.instances)):
                self.mute_at[name] = now
            if not acts or cloud.stale or cloud.hindered or (name, "Describe") in cloud.denied:
                self.blind_at[name] = now
            if not (acts and shows and host.forwards) or cloud.hindered or self.paused_at is not None:
                self.unable_at[name] = now
            if not host.running or not host.forwards or host.service.state != ACTIVE or disturbed:
                self.unfit_at[name] = now
            self.away_for[name] = 0.0 if host.running else self.away_for[name] + LOOK
            if self.away_for[name] > self.config.heartbeat.silent_after + LOOK:
                self.slept_at[name] = now
            if host.running:
                self.alive_at[name] = now
            else:
                self.away_at[name] = now
            if not host.forwards or disturbed or network.no_icmp or host.service.collector.me.fact:
                self.deaf_at[name] = now
            self._look_at_service(name, host)
            spared = cloud.state.tags[name].keys() & {TAG_DRAINED, TAG_MAINTENANCE}
            if spared:
                self.spared_since.setdefault(name, now)
            else:
                self.spared_since.pop(name, None)
        if now >= self.paused_until or cloud.stale:
            self.paused_at = None
        elif self.paused_at is None:
            self.paused_at = now
        slow = cloud.latency > 0.1 or cloud.denied or cloud.failing
        # The tag of a pause has whole seconds: a node may take it for valid a little longer than ``pauses`` says.
        paused = any(TAG_PAUSE in tags for tags in cloud.state.tags.values())
        if network.loss or network.bursts or slow or paused:
            self.hampered_at = now
        for name in self.hosts:
            linked = self._hears(name)
            living = [other for other in linked if self.hosts[other].powered and not self.hosts[other].frozen]
            for since, heard in ((self.cut_off_since, linked), (self.alone_since, living)):
                if heard:
                    since.pop(name, None)
                else:
                    since.setdefault(name, now)

    def _look_at_service(self, name: str, host: Host) -> None:
        """The service that some claims depend on, as it is and as its node must have seen it."""
        now = self.timeline.now
        self.well_for[name] = self.well_for[name] + LOOK if host.serves else 0.0
        # A shorter moment in which it worked may lie between two readings.
        self.ill_for[name] = 0.0 if self.well_for[name] > BETWEEN else self.ill_for[name] + LOOK
        self.ill_seen_for[name] = self.ill_seen_for[name] + LOOK if host.running and not host.serves else 0.0
        if self.ill_for[name] > ILL:
            self.ill_at[name] = now
        if self.ill_seen_for[name] > ILL_KNOWN:
            self.ill_seen_at[name] = now

    # --- now ---------------------------------------------------------------------------------------------------------------------

    def _may_be_ill(self, name: str) -> bool:
        """Had a node's service failed lately, or was there a moment in which one bad reading counts?"""
        now, longest = self.timeline.now, self.config.returns.maximum + MOMENT
        return min(now - self.ill_at[name], now - self.hosts[name].service.born) < longest

    def _cut_off(self, name: str) -> bool:
        """Does it hear none of two living nodes or more?"""
        others = [other for other, host in self.hosts.items() if other != name and host.running and host.uplink]
        return len(others) > 1 and self._hears(name) == []

    def _hears(self, name: str) -> list[str]:
        """From whom its links would bring packets, whether there is anybody or not."""
        there = self.hosts if self.hosts[name].uplink else ()
        return [other for other in there if other != name and (other, name) not in self.network.cut]

    def _isolated(self, name: str) -> bool:
        """Cut off for a while, but not for long yet."""
        now = self.timeline.now
        cut_off = now - self.cut_off_since.get(name, now)
        silence = now - self.alone_since.get(name, now)
        return cut_off > MOMENT and silence < self.fence_after - 2 * LOOK and self._cut_off(name)

    def _able(self, host: Host) -> bool:
        """May claims be with it? Not if an operator has drained it, nor if it has only just begun to find out whether it is alone."""
        alone = self.config.unseen_after + self.fence_after + MOMENT
        settled = self.timeline.now - host.service.born > alone
        willing = host.service.state == ACTIVE or bool(
            host.service.reluctant
        )  # a mere notice makes it the last heir, not none
        return host.forwards and host.running and willing and settled

    def _unmanaged(self, host: Host) -> bool:
        """Its service does not run, and what it said last was good."""
        service = host.service
        says = service.state == ACTIVE and not service.collector.me.fact and self.timeline.now - host.announced_at > 3.0
        return not host.running and host.forwards and says

    def _fine(self, host: Host) -> bool:
        """Also by what it says and has said a moment ago."""
        says = host.service.state == ACTIVE and not host.service.collector.me.fact
        return host.running and host.forwards and says and self.timeline.now - host.announced_at > 3.0
