# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws as invariants over what really happened: the observer knows the truth that no node knows."""

from __future__ import annotations

import typing as t
from collections import deque

from nat_failover.model.cluster import ACTIVE, ROUTE_ACTIVE, TAG_DRAINED, TAG_FENCE, TAG_MAINTENANCE, TAG_PAUSE, Claim
from nat_failover.model.evidence import Evidence
from nat_failover.model.plan import Plan, SetAddress, SetRoute

from .cloud import Cloud, interface, owner_of
from .host import Host
from .network import Network
from .table import Held, Table
from .timeline import Timeline

SEEN = 1.3  # seconds until a node knows its own broken NAT: one round of facts, and a tick
KNOWN = 4.0  # seconds until it knows that its uplink is gone, if nobody is suspected: the pause between two internet checks, and three that fail
TAGGED = 7.0  # seconds until a node knows an operator's tag
LOOK = 0.25  # seconds between looks at the truth
MOMENT = 1.5  # seconds between two readings of EC2 under suspicion, with their latency
WARM = 7.0  # seconds after which everybody has heard everybody, and knows what EC2 says
WRITES_OF_POWER = ("ReplaceRoute", "StopInstances", "RebootInstances", "StartInstances")
MOVES = 8  # of an Elastic IP by nodes, in an incident, and in any hour of a longer one
WRITES = 12  # per claim and incident, and in any hour of a longer one
HOUR = 3600.0
OUTSIDERS = ("operator", "stranger")  # callers that are no node
ILL = 2.75  # seconds for which a service fails at the least before that counts: readings in a row
BETWEEN = 1.25  # seconds between two readings of its file, at the most
ILL_KNOWN = 6.0  # seconds after which its node knows, and all that hear it
BACKOFF = 10.0  # seconds that a failed write may be put off


class Violation(Exception):
    """A law was broken. The first word is the invariant's name."""


class Laws:
    """Watches one world; raises ``Violation`` at the moment it happens."""

    def __init__(
        self, timeline: Timeline, network: Network, cloud: Cloud, table: Table, hosts: t.Mapping[str, Host]
    ) -> None:
        self.timeline, self.network, self.cloud, self.table, self.hosts = timeline, network, cloud, table, hosts
        self.config = config = next(iter(hosts.values())).config
        self.locked = config.witness.table is not None  # a fence needs the lock
        self.lease = config.witness.lease
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
        self.stops: list[tuple[float, str, str]] = []
        self.spent: dict[tuple[str, int], int] = {}  # fences by each life of each service
        self.writes: dict[Claim, deque[float]] = {}
        self.moves: dict[str, deque[float]] = {}  # Elastic IP -> when nodes moved it
        self.written_at: dict[Claim, float] = {}
        self.found_at: dict[Claim, float] = {}  # until when the table of a claim need not be known
        for host in hosts.values():
            host.decided = self.decided
        cloud.watch = self.called
        table.watch = self.changed

    @property
    def paused_until(self) -> float:
        tags = self.cloud.state.tags
        return max((until for name, until in self.pauses.items() if TAG_PAUSE in tags[name]), default=-3600.0)

    def break_(self, law: str, text: str) -> t.NoReturn:
        raise Violation(f"{law}: {text}")

    # --- truth over time ---------------------------------------------------------------------------------------------------------

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

    # --- decisions ---------------------------------------------------------------------------------------------------------------

    def decided(self, host: Host, evidence: Evidence, plan: Plan) -> None:
        """The wish of a node, against the truth. A node that decides lives, however short that is."""
        self.alive_at[host.name] = evidence.now
        if not (plan.routes or plan.addresses or plan.fence):
            return
        now, name = evidence.now, host.name
        if host.witness:
            self.break_("L1", f"{name} acts although it is a witness")
        if now - host.nat_off_at > SEEN:
            self.break_("L1", f"{name} acts although its NAT has been broken for a while")
        if not (evidence.me.forwarding and evidence.me.internet and evidence.me.ec2):
            self.break_("L4", f"{name} acts although it is cut off: {evidence.me}")
        for address in plan.addresses:
            self._followed(host, evidence, plan, address)
        for action in plan.routes:
            owner = owner_of(action.before.target)
            if action.kind == "return" and now - self.bad_at[name] < self.return_after - SEEN:
                self.break_(
                    "L7",
                    f"{name} returns {action.claim} {now - self.bad_at[name]:.1f} s after it could not forward",
                )
            fine = owner in self.hosts and self._fine(self.hosts[owner]) and now - self.unfit_at[owner] > 3.0
            # A node that has just lost its own uplink reaches no EC2 either: its wish comes to nothing.
            if action.claim.destination in self.config.service_of:
                self._served(host, action, owner)
                if owner in self.hosts and self._may_be_ill(owner):
                    continue
            if action.kind == "adopt" and fine and host.uplink:
                self.break_("L2", f"{name} takes {action.claim} from {owner}, which has been well all the time")
            unmanaged = owner in self.hosts and self._unmanaged(self.hosts[owner]) and now - self.deaf_at[owner] > 3.0
            if action.kind == "adopt" and unmanaged:
                self.break_("L5", f"{name} takes {action.claim} from {owner}, whose kernel forwards and answers")
            if action.kind == "adopt" and self._isolated(name):
                self.break_("L4", f"{name}, cut off from all others, takes {action.claim}")
            if action.kind == "adopt" and self.config.takeover.early:
                self._early(name, str(action.claim), action.before.read_at)
            if action.before.state == ROUTE_ACTIVE and owner not in self.hosts:
                self.break_("L8", f"{name} fights over {action.claim}, which somebody pointed elsewhere")

    def _may_be_ill(self, name: str) -> bool:
        """Had a node's service failed lately, or was there a moment in which one bad reading counts?"""
        now, longest = self.timeline.now, self.config.returns.maximum + MOMENT
        return min(now - self.ill_at[name], now - self.hosts[name].service.born) < longest

    def _served(self, host: Host, action: SetRoute, owner: str | None) -> None:
        """A claim that depends on a service: it goes where that works, and comes home when it has worked for long enough."""
        now, name = self.timeline.now, host.name
        well = owner in self.hosts and self._fine(self.hosts[owner]) and now - self.unfit_at[owner] > 3.0
        if well and self.ill_seen_for[name] > ILL_KNOWN and not host.serves and host.uplink:
            self.break_("service", f"{name} takes {action.claim} from {owner}, and its own service does not work")
        if action.kind == "return" and now - self.ill_seen_at[name] < self.return_after - SEEN:
            self.break_(
                "L7", f"{name} returns {action.claim} {now - self.ill_seen_at[name]:.1f} s after its service failed"
            )

    def _followed(self, host: Host, evidence: Evidence, plan: Plan, address: SetAddress) -> None:
        """An Elastic IP goes where its claims are, or are about to be, and nobody else loses one."""
        name, holder = host.name, address.before.interface_id
        primary = {interface(each): self.cloud.primary(each) for each in self.hosts}
        if address.interface_id != interface(name):
            self.break_("address", f"{name} gives {address.allocation} to {address.interface_id}")
        if holder is not None and holder not in primary:
            self.break_("L8", f"{name} takes {address.allocation} from {holder}, which is no node")
        named = holder is not None and address.before.private == primary.get(holder)
        if named or address.private == self.cloud.primary(name):
            self.break_("management", f"{name} moves {address.allocation}, a public address of a node itself")
        taken = {action.claim for action in plan.routes}
        for claim, view in evidence.routes.items():
            outside = claim.home != address.identity or claim.destination in self.config.service_of
            if not outside and view.target != interface(name) and claim not in taken:
                self.break_("address", f"{name} takes {address.allocation}, and {claim} is with {view.target}")

    def _associated(self, caller: str, allocation: str) -> None:
        """The number of times that nodes move an Elastic IP is bounded: they do not fight over it."""
        if caller not in self.hosts:
            return
        if self.config.mode == "observe":
            self.break_("mode", f"{caller} moves {allocation} in mode observe")
        moves, now = self.moves.setdefault(allocation, deque()), self.timeline.now
        moves.append(now)
        while now - moves[0] > HOUR:
            moves.popleft()
        if len(moves) > MOVES:
            self.break_("L9", f"{allocation} was moved {len(moves)} times")

    def _early(self, name: str, claim: str, read_at: float) -> None:
        """An early takeover rests on a reading that is recent, and not from before a sleep."""
        now, silent_after = self.timeline.now, self.config.heartbeat.silent_after
        if now - read_at > self.config.ec2.reading_age + LOOK:
            self.break_("L8", f"{name} takes {claim} by a reading of {now - read_at:.1f} s ago")
        if read_at < self.slept_at[name] - silent_after:
            self.break_("L10", f"{name} takes {claim} by a reading from before it slept")

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

    # --- calls that took effect ----------------------------------------------------------------------------------------------------

    def called(self, caller: str, action: str, subject: str) -> None:
        """A write was applied by EC2."""
        reading = self.timeline.now - self.blind_at.get(caller, 0.0)
        known = self.paused_at is not None and min(reading, self.timeline.now - self.paused_at) > TAGGED
        if known and caller not in OUTSIDERS and self.timeline.now < self.paused_until:
            self.break_("pause", f"{caller} calls {action} on {subject} while the cluster is paused")
        if caller in self.hosts and self.config.mode == "observe" and action in WRITES_OF_POWER:
            self.break_("mode", f"{caller} calls {action} on {subject} in mode observe")
        if action == "CreateTags" and caller != subject:
            self.marked_at[caller, subject] = self.timeline.now
        if action == "AssociateAddress":
            self._associated(caller, subject)
        if action in ("ReplaceRoute", "TagTable"):
            claim, ec2 = next(c for c in self.cloud.state.routes if str(c) == subject), self.config.ec2
            if action == "TagTable":
                self.found_at[claim] = self.timeline.now + 2 * ec2.poll + ec2.read_timeout + MOMENT
            self._written(caller, claim)
        if action in ("StopInstances", "RebootInstances"):
            self._fenced(caller, action, subject)
        if action == "StartInstances" and caller in self.hosts and subject not in self.cloud.asked_to_stop:
            # EC2 may stop it between the reading that a mark rests on and the mark: nobody can tell who was faster.
            marked = self.marked_at.get((caller, subject), -3600.0) - self.cloud.interrupted.get(subject, 0.0)
            if not 0.0 <= marked < MOMENT + 4 * self.cloud.latency:
                self.break_("L6", f"{caller} starts {subject}, which no node has stopped")

    def left(self, name: str) -> None:
        """A machine has shut down: were its routes taken before, if anybody could take them?"""
        now, hosts = self.timeline.now, self.hosts
        if hosts[name].left_at != now or self.config.mode == "observe":
            return  # its service was not there to say anything; or nobody may take anything
        fit = [
            other
            for other, host in hosts.items()
            if other != name and now - max(self.unfit_at[other], self.mute_at[other], host.service.born) > WARM
            if self._fine(host)
        ]
        known = now - max(self.hampered_at, self.mute_at[name], hosts[name].service.born) > WARM
        for claim, target in self.cloud.state.routes.items():
            if claim.destination in self.config.service_of and any(self._may_be_ill(other) for other in hosts):
                continue
            stands = target == interface(name) and now - self.written_at.get(claim, -TAGGED) > TAGGED
            if stands and fit and known:
                self.break_("handover", f"{name} goes down with {claim}, and {fit[0]} was there")

    def _written(self, caller: str, claim: Claim) -> None:
        """A route is about to change."""
        now, cloud = self.timeline.now, self.cloud
        since = now - self.written_at.get(claim, 0.0)
        self.written_at[claim] = now
        if caller not in self.hosts:
            return
        writes = self.writes.setdefault(claim, deque())
        writes.append(now)
        while now - writes[0] > HOUR:
            writes.popleft()
        if len(writes) > WRITES:
            self.break_("L9", f"{claim} was written {len(writes)} times")
        foreign = cloud.state.routes[claim] is not None and owner_of(cloud.state.routes[claim]) not in self.hosts
        slow = cloud.stale or cloud.latency > 0.1 or cloud.throttled
        ec2 = self.config.ec2
        returns = any(a.claim == claim and a.kind == "return" for a in self.hosts[caller].service.plan.routes)
        known = ec2.connect_timeout + ec2.read_timeout if returns else ec2.poll
        if foreign and since > known + MOMENT and not slow:
            self.break_("L8", f"{caller} writes {claim} by a reading from before an edit {since:.1f} s ago")

    def _fenced(self, caller: str, action: str, target: str) -> None:
        """A node is about to be stopped or rebooted."""
        config = self.config
        wanted = {"stop_start": "StopInstances", "reboot": "RebootInstances"}.get(config.fence.policy)
        if target in self.cloud.stops_refused and wanted is not None:
            wanted = "RebootInstances"  # the fall-back
        if config.mode == "route" or action != wanted:
            self.break_("mode", f"{caller} calls {action} on {target} in mode {config.mode}")
        self._between(caller, target)
        self._spared(caller, target)
        lives = self.hosts[caller].boots
        self.stops.append((self.timeline.now, caller, target))
        self.spent[caller, lives] = self.spent.get((caller, lives), 0) + 1
        if self.spent[caller, lives] > config.fence.max_per_hour:
            self.break_("budget", f"{caller} fences more than {config.fence.max_per_hour} times")

    def _between(self, caller: str, target: str) -> None:
        """L3: one fence an incident, never two nodes fencing each other, marked before."""
        now = self.timeline.now
        if caller == target:
            self.break_("L3", f"{caller} stops itself")
        if self.hosts[target].witness:
            self.break_("L6", f"{caller} stops {target}, which is a witness")
        if self.locked and (self.table.held or ())[:2] != (caller, target):
            self.break_("L3", f"{caller} stops {target} without the lock, which is {self.table.held}")
        for at, by, stopped in self.stops:
            # A node that has been dead for as long as a fence needs is not one of two that fight.
            fought = now - self.alive_at[target] < self.fence_after
            if (by, stopped) == (target, caller) and now - at < 60.0 and fought:
                self.break_("L3", f"{caller} and {target} stop each other")
            if stopped == target and self.alive_at[target] <= at:
                self.break_("L3", f"{target} is stopped a second time without having lived")
        for _at, by, stopped in self.stops if self.locked else ():
            lapsed = now - self.unable_at[by] <= self.lease + BACKOFF
            if self.cloud.state.instances[stopped] in ("stopping", "stopped") and not lapsed:
                self.break_("L3", f"{caller} stops {target} while {stopped}, stopped by {by}, is still down")
        if now - self.mute_at[target] > self.fence_after:
            self.break_("L3", f"{caller} stops {target}, which lived and reached EC2 all the time")
        # Two may mark in the same moment: EC2 has no compare-and-swap, and one stop is what comes of it.
        marked = now - self.marked_at.get((caller, target), -3600.0) < MOMENT
        if not marked and not self.cloud.state.tags[target].get(TAG_FENCE, "").startswith(caller + ":"):
            self.break_("L3", f"{caller} stops {target} without its mark on it")

    def _spared(self, caller: str, target: str) -> None:
        """L2, L5, L6: whom nobody may fence."""
        now = self.timeline.now
        if now - self.deaf_at[target] > self.fence_after:
            self.break_("L5", f"{caller} stops {target}, whose kernel forwarded and answered all the time")
        tagged = self.cloud.state.tags[target].keys() & {TAG_DRAINED, TAG_MAINTENANCE}
        if tagged and now - self.spared_since.get(target, now) > TAGGED:
            self.break_("L6", f"{caller} stops {target}, which is drained or under maintenance")
        if self.alive_at[target] < self.hosts[caller].service.born - 1.0:
            self.break_("L6", f"{caller} stops {target}, which it cannot have seen healthy")
        said = self.hosts[caller].service.heard[target].report
        if said is not None and said.state != ACTIVE and now - self.hosts[target].left_at > MOMENT:
            self.break_("L6", f"{caller} stops {target}, which had told it that it was about to go")
        if self.alive_at[target] < self.cloud.launched_at[target]:
            self.break_("L6", f"{caller} stops {target}, a replacement that never came up")
        # A route that moved in the same moment could not be known: EC2 has no compare-and-swap.
        routes, moment = self.cloud.state.routes.items(), MOMENT + 4 * self.cloud.latency
        known = {c: max(self.written_at.get(c, 0.0) + moment, self.found_at.get(c, 0.0)) for c, _at in routes}
        pointing = [str(c) for c, at in routes if at == interface(target) and now > known[c]]
        if pointing and not self.cloud.stale:
            self.break_("L2", "{} stops {} while {} still points to it".format(caller, target, ", ".join(pointing)))

    def changed(self, caller: str, action: str, before: Held | None, after: Held | None) -> None:
        """The lock is about to be written."""
        now = self.timeline.now
        if before is None or before[0] == (after[0] if after else caller):
            return
        if action == "unlock" or now - self.table.written_at < self.lease:
            self.break_(
                "L3",
                f"{caller} takes the lock of {before[0]}, which was renewed {now - self.table.written_at:.1f} s ago",
            )
        if now - self.unable_at[before[0]] > self.lease + BACKOFF:
            self.break_("L3", f"{before[0]} let its lock lapse although it could have renewed it")

    # --- the end -------------------------------------------------------------------------------------------------------------------

    def egress(self) -> None:
        """Some time after the faults stopped: every claim is with a node that forwards, if there is one."""
        if not any(self._able(host) for host in self.hosts.values()):
            return
        for claim, target in self.cloud.state.routes.items():
            owner = self.hosts.get(owner_of(target))
            if owner is None or not owner.forwards:
                self.break_("egress", f"{claim} is still with {target}")
            if claim.destination in self.config.service_of:
                self._useful(claim, owner)

    def _useful(self, claim: Claim, owner: Host) -> None:
        """A service that has been dead for a while serves nobody, if it has worked elsewhere all the time."""
        now = self.timeline.now
        others = [host for host in self.hosts.values() if self._able(host) and not self._may_be_ill(host.name)]
        if self.ill_seen_for[owner.name] > 2 * ILL_KNOWN and not owner.serves and others:
            self.break_("service", f"{claim} is still with {owner.name}, whose service is dead, at {now:.1f}")

    def home(self) -> None:
        """At the very end: all nodes live, no mark of a fence is left, every claim is at home."""
        for name, state in self.cloud.state.instances.items():
            if state != "running" or not self.hosts[name].running:
                self.break_("home", f"{name} was left {state}")
            if TAG_FENCE in self.cloud.state.tags[name]:
                self.break_("home", f"{name} still carries the mark of a fence")
        if self.table.held is not None:
            self.break_("home", "{} still holds the fence lock for {}".format(*self.table.held[:2]))
        for claim, target in self.cloud.state.routes.items():
            if owner_of(target) != claim.home:
                self.break_("home", f"{claim} is with {target}")
        for allocation in self.cloud.astray():
            self.break_("address", f"{allocation} is with {self.cloud.state.addresses[allocation]}")
