# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hands of the service: carries out a plan with EC2 calls in parallel, re-reads, and backs off. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
import random
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..aws.ec2 import THROTTLED, UNCERTAIN, Ec2
from ..errors import AwsError, NatFailoverError
from ..model.cluster import LOCK_STEPS, ROUTE_ACTIVE, TAG_FENCE, TAG_FLARE, Claim, FenceStep, Plan, RouteView, SetRoute
from ..model.liveness import Signs
from ..model.settings import Config
from ..observe.collector import Gatherer
from ..observe.witness_reader import Testimony
from ..policy import probe_plan as inquiry
from .throttle import Pace, Rereads

LOG = logging.getLogger("nat-failover")
BACKOFF_FIRST, BACKOFF_MOST = (
    0.2,
    10.0,
)  # seconds; full jitter, doubling (AWS Architecture Blog, "Exponential Backoff And Jitter")
WRITERS = 48  # route tables written at the same time; threads that are not needed are not made

Key = t.Tuple[str, ...]


class Hands:
    """Executes plans. Each action has a key; a key in flight or backing off is ``busy`` and is not planned again."""

    def __init__(
        self,
        config: Config,
        ec2: Ec2,
        gatherer: Gatherer,
        testimony: Testimony,
        signs: Signs,
        clock: t.Callable[[], float],
        record: t.Callable[..., None],
    ) -> None:
        self.config = config
        self.ec2 = ec2
        self.gatherer = gatherer
        self.testimony = testimony
        self.signs = signs
        self.clock = clock
        self.record = record
        self.tagging = False
        self.replaced: t.Dict[Claim, RouteView] = {}  # each claim that was written, as it was before the first write
        self._pool = ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="write")
        self._rereading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reread")  # not behind all the writes
        self._rereads = Rereads(self._read_routes)
        self._pace = Pace()
        self._throttled = False  # since the last success: told once
        self._in_flight: t.Set[Key] = set()
        self._not_before: t.Dict[Key, float] = {}
        self._failures: t.Dict[Key, int] = {}
        self._tasks: t.Set["asyncio.Future[None]"] = set()
        self._flare = asyncio.Event()

    def busy(self, now: float) -> t.FrozenSet[Key]:
        self._pace.release(now)
        return frozenset(
            self._in_flight | self._pace.waiting.keys() | {key for key, at in self._not_before.items() if at > now}
        )

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._rereads.close()
        self._pool.shutdown(wait=False)
        self._rereading.shutdown(wait=False)

    def carry_out(self, plan: Plan) -> None:
        """Start everything at once: routes of many tables are written in parallel."""
        for action in plan.routes:
            self._start(action.key, self._set_route(action))
        for step in plan.fence:
            self._start(step.key, self._lock(step) if step.step in LOCK_STEPS else self._fence(step))

    def _start(self, key: Key, work: t.Coroutine[t.Any, t.Any, bool]) -> None:
        self._in_flight.add(key)
        task = asyncio.ensure_future(self._guard(key, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, key: Key, work: t.Coroutine[t.Any, t.Any, bool]) -> None:
        """Success clears the key; anything else backs off. The next tick plans it again if it is still needed (L9)."""
        done, throttled, began = False, False, self.clock()
        try:
            done = await work
        except AwsError as error:
            throttled = error.code in THROTTLED
            self._tell_failure(key, error)
        except Exception as error:  # a mistake of ours in one action must not be silent, nor end the others
            LOG.exception("%s: unexpected", " ".join(key))
            self.record("failed", "%s: unexpected %s: %s" % (" ".join(key), type(error).__name__, error), logging.ERROR)
        finally:
            self._in_flight.discard(key)
            if throttled:
                self._pace.refused(key, began, self.clock())
            else:
                self._not_before[key] = self._back_off(key, done)
            self.gatherer.news()

    def _back_off(self, key: Key, done: bool) -> float:
        """From when on a key may be tried again: at once, or after a time that doubles with each failure, with jitter."""
        self._failures[key] = 0 if done else self._failures.get(key, 0) + 1
        ceiling = min(BACKOFF_FIRST * 2 ** min(self._failures[key], 10), BACKOFF_MOST)
        return self.clock() + (0.0 if done else ceiling * random.uniform(0.5, 1.0))

    def _tell_failure(self, key: Key, error: AwsError) -> None:
        """One line for each failure, but one only for a time of throttling, which hundreds of calls may meet."""
        throttled = error.code in THROTTLED
        if not (throttled and self._throttled):
            more = "; it and others are tried again at the pace that EC2 allows" if throttled else ""
            self.record("failed", "%s: %s%s" % (" ".join(key), error, more), logging.ERROR)
        self._throttled = throttled or self._throttled

    async def _call(self, function: t.Callable[..., t.Any], *args: t.Any) -> t.Any:
        began = self.clock()
        result = await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args))
        self.gatherer.note_ec2(True, began)
        return result

    async def _read_routes(self, claims: t.Sequence[Claim]) -> t.Mapping[Claim, RouteView]:
        found = await asyncio.get_running_loop().run_in_executor(self._rereading, self.ec2.describe_routes, claims)
        return t.cast(t.Mapping[Claim, RouteView], found)

    async def _write(self, action: SetRoute) -> RouteView:
        """What EC2 says after the write. Of a write without an answer the re-read tells; only if that fails too its error is raised."""
        try:
            await self._call(self.ec2.write_route, action.claim, action.interface_id)
        except AwsError as error:
            if error.code not in UNCERTAIN:
                raise
            try:
                return await self._rereads.ask(action.claim)
            except AwsError:
                raise error from None
        self._pace.granted()
        self._throttled = False
        return await self._rereads.ask(action.claim)

    async def _set_route(self, action: SetRoute) -> bool:
        began = self.clock()
        view = await self._write(action)
        self.gatherer.note_route(action.claim, view)
        took = (self.clock() - began) * 1000
        done = view.target == action.interface_id and view.state == ROUTE_ACTIVE
        if done:
            self.replaced.setdefault(action.claim, action.before)
            self.record(
                "route",
                "%s; done in %d ms" % (action.reason, took),
                route_table=action.claim.route_table,
                action=action.kind,
                ms=round(took, 1),
            )
        else:
            self.record(
                "route",
                "%s; EC2 still says %s (%s) after %d ms, will look again"
                % (action.reason, view.target, view.state, took),
                logging.WARNING,
            )
        return bool(done)

    async def _lock(self, step: FenceStep) -> bool:
        done = await self.testimony.carry_out(step)
        if step.step != "renew":  # that is of no interest to anybody
            note = "" if done else "; somebody else was first"
            self.record("fence", step.reason + note, peer=step.peer, step=step.step)
        return done

    async def _fence(self, step: FenceStep) -> bool:
        level = logging.WARNING if step.step in ("mark", "stop", "force_stop", "reboot") else logging.INFO
        self.record("fence", step.reason, level, peer=step.peer, step=step.step)
        instance, me = step.instance_id, self.config.self_name
        if step.step == "mark":
            if not await self._unmarked(step):
                return False
            await self._call(self.ec2.set_tag, instance, TAG_FENCE, "%s:stop" % me)
        elif step.step == "unmark":
            await self._call(self.ec2.delete_tag, instance, TAG_FENCE)
        elif step.step == "start":
            await self._call(self.ec2.start, instance)
            await self._call(self.ec2.set_tag, instance, TAG_FENCE, "%s:started" % me)
        elif step.step == "reboot":
            await self._call(self.ec2.reboot, instance)
            await self._call(self.ec2.set_tag, instance, TAG_FENCE, "%s:started" % me)
        else:
            await self._call(self.ec2.stop, instance, step.step == "force_stop")
        # The next step must rest on what EC2 says now, not on what it said before this one.
        await self.gatherer.read_since(self.clock())
        return True

    async def _unmarked(self, step: FenceStep) -> bool:
        """Does nobody fence it, and does it run, by a reading of its own? EC2 has no compare-and-swap; this is the next best (L3, L6)."""
        asked = self.clock()
        await self.gatherer.read_since(asked)
        view = self.gatherer.instances[step.peer]
        fresh = view.read_at >= asked
        if fresh and view.state == "running" and TAG_FENCE not in view.tags:
            return True
        why = view.tags.get(TAG_FENCE) or "EC2 says %s" % view.state if fresh else "EC2 was not read"
        self.record("fence", "%s is not marked: %s" % (step.peer, why))
        return False

    # --- own tags ------------------------------------------------------------------------------------------------------------------

    async def tag_self(self, key: str, value: t.Optional[str]) -> None:
        """Write (or, with None, remove) a tag on this node's own instance; raises ``NatFailoverError``."""
        self.tagging = True
        try:
            await self.tag(self.config.self_name, key, value)
        finally:
            self.tagging = False

    async def tag(self, name: str, key: str, value: t.Optional[str]) -> None:
        """Write (or, with None, remove) a tag on a node's instance; raises ``NatFailoverError``."""
        instance = self.gatherer.instance_id(name)
        if value is None:
            await self._call(self.ec2.delete_tag, instance, key)
        else:
            await self._call(self.ec2.set_tag, instance, key, value)

    def flare(self, wanted: bool) -> None:
        if wanted != self._flare.is_set():
            (self._flare.set if wanted else self._flare.clear)()

    async def flare_work(self) -> None:
        """While wanted, rewrite the flare: "I am alive and I reach EC2". Failures are the API's word, not an error."""
        while True:
            await self._flare.wait()
            try:
                await self._call(
                    self.ec2.set_tag,
                    self.gatherer.instance_id(self.config.self_name),
                    TAG_FLARE,
                    self.signs.next(),
                )
            except NatFailoverError as error:
                self.record("failed", "flare: %s" % error, logging.WARNING)
            await asyncio.sleep(inquiry.FLARE_INTERVAL)
