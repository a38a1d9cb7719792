# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node does to EC2, with the bookkeeping of the engine's ``hands.py``: in flight, then done or backing off."""

from __future__ import annotations

import typing as t

from nat_failover.act.executor import BACKOFF_FIRST, BACKOFF_MOST
from nat_failover.model.cluster import (
    LOCK_STEPS,
    ROUTE_ACTIVE,
    TAG_FENCE,
    TAG_FLARE,
    FenceStep,
    Plan,
    RouteView,
    SetRoute,
)
from nat_failover.policy import probe_plan as inquiry

if t.TYPE_CHECKING:
    from .service import Service

Key = t.Tuple[str, ...]
NONE: t.FrozenSet[Key] = frozenset()


class Hands:
    """Carries out plans."""

    def __init__(self, service: "Service") -> None:
        self.service, self.cloud, self.timeline, self.name = service, service.cloud, service.timeline, service.name
        self._in_flight: t.Set[Key] = set()
        self._not_before: t.Dict[Key, float] = {}
        self._failures: t.Dict[Key, int] = {}
        self._flaring = False

    def busy(self, now: float) -> t.FrozenSet[Key]:
        """Keys of what is under way or backs off."""
        if not self._in_flight and not self._not_before:
            return NONE
        return frozenset(self._in_flight | {key for key, at in self._not_before.items() if at > now})

    def patience(self, now: float) -> float:
        """When the next of them may be tried again."""
        return min((at for at in self._not_before.values() if at > now), default=float("inf"))

    def carry_out(self, plan: Plan) -> None:
        for action in plan.routes:
            self._set_route(action)
        for step in plan.fence:
            self._fence(step)
        if plan.flare and not self._flaring:
            self._flare()

    def _begin(self, key: Key) -> t.Callable[[bool], None]:
        """Something is under way; call the result when it has ended."""
        self._in_flight.add(key)

        def ended(ok: bool) -> None:
            self._in_flight.discard(key)
            self._failures[key] = 0 if ok else self._failures.get(key, 0) + 1
            ceiling = min(BACKOFF_FIRST * 2 ** min(self._failures[key], 10), BACKOFF_MOST)
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
    ) -> None:
        ended, began, gatherer = self._begin(key), self.timeline.now, self.service.gatherer

        def answered(result: t.Any) -> None:
            gatherer.note_ec2(True, began, True)
            if key[0] == "fence":
                gatherer.read(lambda: ended(done(result)))  # the next step must rest on a newer reading
            else:
                ended(done(result))

        def failed(code: str) -> None:
            self.timeline.tell("%s: %s failed: %s" % (self.name, " ".join(key), code))
            ended(False)

        self.service.call(action, apply, answered, failed, subject)

    def _set_route(self, action: SetRoute) -> None:
        self.timeline.tell("%s: %s" % (self.name, action.reason))

        def done(view: RouteView) -> bool:
            self.service.gatherer.merge({action.claim: view}, {})
            return view.target == action.interface_id and view.state == ROUTE_ACTIVE

        def apply() -> RouteView:
            return self.cloud.set_route(self.name, action.claim, action.interface_id)

        self._act(action.key, "ReplaceRoute", apply, done, action.claim.route_table)

    def _fence(self, step: FenceStep) -> None:
        self.timeline.tell("%s: %s" % (self.name, step.reason))
        if step.step in LOCK_STEPS:
            self.service.testimony.carry_out(step, self._begin(step.key))
            return
        cloud, me, peer = self.cloud, self.name, step.peer

        def mark(stage: t.Optional[str]) -> t.Callable[[], None]:
            return lambda: cloud.set_tag(me, peer, TAG_FENCE, "%s:%s" % (me, stage) if stage else None)

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
            self._once_read(step, lambda: self._act(step.key, action, aimed, lambda result: True))
        else:
            self._act(step.key, action, aimed, lambda result: True)

    def _once_read(self, step: FenceStep, go_on: t.Callable[[], None]) -> None:
        """A mark rests on a reading of its own: has nobody else begun to fence it, and does it run?"""
        asked, ended, gatherer = self.timeline.now, self._begin(step.key), self.service.gatherer

        def read() -> None:
            view = gatherer.instances[step.peer]
            if view.read_at >= asked and view.state == "running" and TAG_FENCE not in view.tags:
                go_on()
            else:
                ended(False)

        gatherer.read(read)

    def _flare(self) -> None:
        self._flaring = self.service.plan.flare
        if not self._flaring:
            return
        value = self.service.signs.next()
        self.service.call("Flare", lambda: self.cloud.set_tag(self.name, self.name, TAG_FLARE, value))
        self.service.soon(inquiry.FLARE_INTERVAL, self._flare)
