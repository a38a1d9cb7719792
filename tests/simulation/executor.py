# SPDX-License-Identifier: GPL-3.0-or-later
"""The writes of a node, with the bookkeeping of the engine's ``act/executor.py``: in flight, then done or backing off."""

from __future__ import annotations

import typing as t

from nat_failover.act.executor import BACKOFF_FIRST, BACKOFF_LASTING, BACKOFF_MOST, PATIENT, UNSEEN_AFTER
from nat_failover.act.unfit import UnfitInstances
from nat_failover.aws import codes
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import ROUTE_ACTIVE, ROUTE_NO_TABLE, TAG_FENCE, TAG_FLARE, RouteView
from nat_failover.model.plan import LOCK_STEPS, FenceStep, Plan, SetAddress, SetRoute
from nat_failover.policy import probe_plan
from nat_failover.wire.seals import FLARE

from .timeline import EPOCH

if t.TYPE_CHECKING:
    from .service import Service

Key = tuple[str, ...]
NONE: frozenset[Key] = frozenset()
READING = "reading"  # that a follower waits for


class Executor:
    """Carries out plans."""

    def __init__(self, service: Service) -> None:
        self.service, self.cloud, self.timeline, self.name = service, service.cloud, service.timeline, service.name
        self._in_flight: set[Key] = set()
        self._not_before: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._flaring = False
        self._flares_failed = 0  # in a row
        self.unfit = UnfitInstances()

    def busy(self, now: float) -> frozenset[Key]:
        """Keys of what is under way or backs off."""
        if not self._in_flight and not self._not_before:
            return NONE
        return frozenset(self._in_flight | {key for key, at in self._not_before.items() if at > now})

    def patience(self, now: float) -> float:
        """When the next of them may be tried again."""
        return min((at for at in self._not_before.values() if at > now), default=float("inf"))

    def carry_out(self, plan: Plan) -> None:
        followers = [Follower(self, address) for address in plan.addresses]
        for action in plan.routes:
            self._set_route(action, followers)
        for step in plan.fence:
            self._fence(step)
        if plan.flare and not self._flaring:
            self._flare()

    def _begin(self, key: Key) -> t.Callable[..., None]:
        """Something is under way; call the result when it has ended."""
        self._in_flight.add(key)

        def ended(ok: bool, lasting: bool = False) -> None:
            self._in_flight.discard(key)
            self._failures[key] = 0 if ok else self._failures.get(key, 0) + 1
            ceiling = min(BACKOFF_FIRST * 2 ** min(self._failures[key], 10), BACKOFF_MOST)
            ceiling = BACKOFF_LASTING if lasting and key[0] in PATIENT else ceiling
            if ok:
                self._not_before.pop(key, None)
            else:
                self._not_before[key] = self.timeline.now + ceiling * self.service.rng.uniform(0.5, 1.0)
            self.service.wake()

        return ended

    def _act(
        self,
        key: Key,
        action: str,
        apply: t.Callable[[], t.Any],
        done: t.Callable[[t.Any], bool],
        subject: str = "",
        wanted: FenceStep | None = None,
        told: t.Callable[[t.Any], None] = lambda result: None,
    ) -> None:
        """``told``: called with what EC2 answered, or None, before anything else."""
        ended, began, collector = self._begin(key), self.timeline.now, self.service.collector

        def answered(result: t.Any) -> None:
            told(result)
            collector.note_ec2(True, began, True)
            if key[0] == "fence":
                collector.read(lambda: ended(done(result)))  # the next step must rest on a newer reading
            else:
                ended(done(result))

        def failed(code: str) -> None:
            told(None)
            self.timeline.tell("{}: {} failed: {}".format(self.name, " ".join(key), code))
            error = Ec2Error(f"ec2:{action}", subject, code, "simulated", retryable=codes.retryable(code))
            unfit = self.unfit.note(wanted, error, self.timeline.now)
            ended(False, codes.lasting(code) and not unfit)

        self.service.call(action, apply, answered, failed, subject)

    def _set_route(self, action: SetRoute, followers: t.Sequence[Follower]) -> None:
        self.timeline.tell(f"{self.name}: {action.reason}")

        def done(view: RouteView) -> bool:
            self.service.collector.merge({action.claim: view}, {})
            return view.target == action.interface_id and view.state == ROUTE_ACTIVE

        def apply() -> RouteView:
            return self.cloud.set_route(self.name, action.claim, action.interface_id)

        def told(view: RouteView | None) -> None:
            for follower in followers:
                follower.answered(action.claim, view is not None and view.state != ROUTE_NO_TABLE)

        self._act(action.key, "ReplaceRoute", apply, done, action.claim.route_table, told=told)

    def set_address(self, action: SetAddress) -> None:
        """Write at once."""
        self.timeline.tell(f"{self.name}: {action.reason}")
        place = action.interface_id, action.private

        def apply() -> t.Any:
            self.cloud.associate(self.name, action.allocation, place)
            return self.cloud.read_addresses(self.name, [action.allocation], self.timeline.now)

        def done(views: t.Any) -> bool:
            self.service.collector.merge_addresses(views)
            view = (views or {}).get(action.allocation)
            return view is not None and (view.interface_id, view.private) == place

        self._act(action.key, "AssociateAddress", apply, done, action.allocation)

    def renew(self, action: SetAddress, told: t.Callable[[bool], None]) -> None:
        """Read an Elastic IP again. ``told``: called with whether it is where it was."""
        ended = self._begin(action.key)

        def answered(views: t.Any) -> None:
            self.service.collector.merge_addresses(views)
            view = (views or {}).get(action.allocation)
            if view is None:
                ended(False)
            told(
                view is not None
                and (view.interface_id, view.private) == (action.before.interface_id, action.before.private)
            )

        def failed(code: str) -> None:
            ended(False, codes.lasting(code))
            told(False)

        def apply() -> t.Any:
            return self.cloud.read_addresses(self.name, [action.allocation], self.timeline.now)

        self.service.call("DescribeAddresses", apply, answered, failed, action.allocation)

    def hold(self, key: Key, held: bool) -> None:
        """Something is under way that is no write yet, or it is given up."""
        if held:
            self._in_flight.add(key)
        else:
            self._in_flight.discard(key)
            self.service.wake()

    def _fence(self, step: FenceStep) -> None:
        self.timeline.tell(f"{self.name}: {step.reason}")
        if step.step in LOCK_STEPS:
            self.service.witness_reader.carry_out(step, self._begin(step.key))
            return
        cloud, me, peer = self.cloud, self.name, step.peer

        def value(stage: str) -> str:
            return self.service.seals.mark(peer, step.instance_id, me, stage, EPOCH + self.timeline.now)

        def mark(stage: str | None) -> t.Callable[[], None]:
            return lambda: cloud.set_tag(me, peer, TAG_FENCE, value(stage) if stage else None)

        def started() -> None:
            cloud.start(me, peer)
            mark("started")()

        def rebooted() -> None:
            cloud.reboot(me, peer)
            mark("started")()

        action, apply = {
            "reboot": ("RebootInstances", rebooted),
            "mark": ("CreateTags", mark("stop")),
            "unmark": ("DeleteTags", mark(None)),
            "stop": ("StopInstances", lambda: cloud.stop(me, peer)),
            "force_stop": ("StopInstances", lambda: cloud.stop(me, peer)),
            "start": ("StartInstances", started),
        }[step.step]

        def aimed() -> None:
            if (
                cloud.instance_id(peer) == step.instance_id
            ):  # one that was replaced meanwhile is not hit by what was meant for its predecessor
                apply()

        if step.step == "mark":
            self._once_read(step, lambda: self._act(step.key, action, aimed, lambda result: True, peer, step))
        else:
            self._act(step.key, action, aimed, lambda result: True, peer, step)

    def _once_read(self, step: FenceStep, go_on: t.Callable[[], None]) -> None:
        """A mark rests on a reading of its own: has nobody else begun to fence it, and does it run?"""
        asked, ended, collector = self.timeline.now, self._begin(step.key), self.service.collector

        def read() -> None:
            view = collector.instances[step.peer]
            unmarked = view.tags.get(TAG_FENCE, step.ignores) == step.ignores
            if view.read_at >= asked and view.state == "running" and unmarked:
                go_on()
            else:
                ended(False)

        collector.read(read)

    def _flare(self) -> None:
        self._flaring = self.service.plan.flare
        if not self._flaring:
            return
        value = self.service.signs.next(FLARE, self.cloud.instance_id(self.name))
        self.service.call(
            "Flare",
            lambda: self.cloud.set_tag(self.name, self.name, TAG_FLARE, value),
            lambda result: self._note_flare(""),
            self._note_flare,
            self.name,
        )
        self.service.soon(probe_plan.FLARE_INTERVAL, self._flare)

    def _note_flare(self, code: str) -> None:
        """A flare was written ("") or refused with this code."""
        self._flares_failed = self._flares_failed + 1 if code else 0
        if not code or codes.lasting(code) or self._flares_failed >= UNSEEN_AFTER:
            self.service.collector.note_unseen(code)


class Follower:
    """An Elastic IP that waits for the routes before it, and for a newer reading if the one that it rests on is old."""

    def __init__(self, executor: Executor, action: SetAddress) -> None:
        self._executor, self._action = executor, action
        self._left: set[t.Any] = {*action.after, *([READING] if action.renews else ())}
        executor.hold(action.key, True)
        if action.renews:
            executor.renew(action, lambda yes: self.answered(READING, yes))
        if not self._left:
            executor.set_address(action)

    def answered(self, what: t.Any, yes: bool) -> None:
        """A route was written, or the reading shows what the plan rests on. Else nothing follows."""
        if what not in self._left:
            return
        self._left.discard(what)
        if not yes:
            self._left.clear()
            self._executor.hold(self._action.key, False)
        elif not self._left:
            self._executor.set_address(self._action)
