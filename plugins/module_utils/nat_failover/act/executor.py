# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out plans: every action at once, each with a back-off of its own after a failure.

Decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import typing as t

from ..aws import codes
from ..aws.ec2 import THROTTLED, Ec2
from ..errors import AwsError, NatFailoverError
from ..model.cluster import TAG_FLARE, Claim, RouteView
from ..model.liveness import LivenessCounter
from ..model.plan import LOCK_STEPS, FenceStep, Plan, SetRoute
from ..model.settings import Config
from ..observe.collector import EvidenceCollector
from ..observe.witness_reader import WitnessReader
from ..policy import probe_plan
from ..runtime.base import Runtime
from ..wire.seals import FLARE, Seals
from .actions import Action, actions
from .ec2_calls import Ec2Calls
from .refusals import Refusal, Refusals
from .steps import GivenUp, Tools, perform
from .unfit import UnfitInstances

LOG = logging.getLogger("nat-failover")
# Seconds; doubling with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter").
BACKOFF_FIRST, BACKOFF_MOST = 0.2, 10.0
BACKOFF_LASTING = 30.0  # after a refusal that lasts until somebody changes something
UNSEEN_AFTER = 3  # failures of the flare in a row, for any reason, after which no peer can see this node
# Steps of a fence that are logged as warnings
DISRUPTIVE = ("mark", "stop", "force_stop", "reboot")

# The first words of keys that wait long after a refusal that lasts
PATIENT = ("fence", "address")
FLARE_KEY = ("flare",)  # of its failures
# The endings of an action. PUT_OFF: throttled. REFUSED: until somebody changes something
DONE, FAILED, PUT_OFF, REFUSED, GIVEN_UP = "done", "failed", "put off", "refused", "given up"

Key = tuple[str, ...]
Emit = t.Callable[..., None]  # (kind, text, level = INFO, **details)


class Executor:
    """Carries out plans.

    An action whose key is under way, or backs off, is ``busy`` and is not planned again.
    """

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        ec2: Ec2,
        collector: EvidenceCollector,
        witness_reader: WitnessReader,
        liveness: LivenessCounter,
        seals: Seals,
        wake: t.Callable[[], None],
        emit: Emit,
    ) -> None:
        """``wake()`` is called when an action has ended. ``emit`` is ``EventLog.emit``."""
        self.config = config
        self.tagging = False  # this node is writing a tag of its own
        # Each claim that was written, as it was before the first write
        self.replaced: dict[Claim, RouteView] = {}
        self._runtime = runtime
        self._collector = collector
        self._liveness, self._seals = liveness, seals
        self._wake = wake
        self._emit = emit
        self._calls = Ec2Calls(ec2, runtime, collector.note_ec2)
        self._tools = Tools(self._calls, collector, witness_reader, runtime.now)
        self._in_flight: set[Key] = set()
        self._not_before: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._refusals = Refusals()
        self._tasks: set[asyncio.Future[None]] = set()
        self._flare = asyncio.Event()
        self._unfit = UnfitInstances()

    def busy(self, now: float) -> frozenset[Key]:
        """The keys that may not be planned now: under way, waiting for EC2's pace, or backing off."""
        throttle = self._calls.throttle
        throttle.release(now)
        backing_off = {key for key, at in self._not_before.items() if at > now}
        return frozenset(self._in_flight | throttle.waiting.keys() | backing_off)

    def unfit(self, now: float) -> t.Mapping[tuple[str, str], str]:
        """(step of a fence, instance id) -> why EC2 does not take this step on this instance."""
        return self._unfit.standing(now)

    def reconfigure(self, config: Config) -> None:
        """Work by a new configuration."""
        self.config = config

    def close(self) -> None:
        """Cancel what is under way. A call that EC2 has received is applied all the same."""
        for task in self._tasks:
            task.cancel()
        self._calls.close()

    def carry_out(self, plan: Plan, busy: t.Container[Key]) -> None:
        """Start all actions of a plan at once. Returns immediately.

        ``busy``: the keys that the plan was not free to contain, by the evidence it was made from.
        """
        if self._refusals.standing:
            self._drop_unwanted(plan, busy)
        for action in actions(plan, self._mark):
            self._in_flight.add(action.key)
            task = asyncio.ensure_future(self._guard(action))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def refused(self) -> list[tuple[Refusal, float]]:
        """The actions that are wanted and fail, each with the moment of its next attempt at the
        earliest.
        """
        return [(each, self._not_before.get(each.key, each.last_at)) for each in self._refusals.standing.values()]

    def _drop_unwanted(self, plan: Plan, busy: t.Container[Key]) -> None:
        """Report the end of failures that nothing wants repeated."""
        now = self._runtime.now()
        wanted = {each.key for each in (*plan.routes, *plan.addresses, *plan.fence, *plan.withheld)}
        if self._flare.is_set():
            wanted.add(FLARE_KEY)
        for each in self._refusals.unwanted(wanted, busy):
            text = f"{' '.join(each.key)}: not wanted any more, after {each.attempts} failed attempts"
            self._emit("failed_ended", text, attempts=each.attempts, lasted_s=round(now - each.first_at, 1))

    def _mark(self, step: FenceStep, stage: str) -> str:
        """The mark of a fence by this node, sealed."""
        me, wall_time = self.config.self_name, self._runtime.wall_time()
        return self._seals.mark(step.peer, step.instance_id, me, stage, wall_time)

    async def _guard(self, action: Action) -> None:
        """Success clears the key, anything else backs off.

        The next decision plans it again if it is still needed (L9).
        """
        key, began = action.key, self._runtime.now()
        ending = FAILED
        try:
            ending = DONE if await self._run(action) else FAILED
        except GivenUp as reason:
            ending = GIVEN_UP
            LOG.debug("%s: %s", " ".join(key), reason)
        except AwsError as error:
            # The policy has a fall-back for a step that an instance does not take: it comes soon.
            unfit = self._unfit.note(action.wanted, error, self._runtime.now())
            if error.code in THROTTLED:
                ending = PUT_OFF
            elif codes.lasting(error.code) and not unfit:
                ending = REFUSED
            self._report_failure(action, error)
        # A defect in one action must neither pass unnoticed nor end the others
        except Exception as error:
            LOG.exception("%s: unexpected", " ".join(key))
            problem = f"unexpected {type(error).__name__}: {error}"
            self._refusals.note(key, action.reason, problem, "", self._runtime.now())
            self._emit("failed", "{}: {}".format(" ".join(key), problem), logging.ERROR)
        finally:
            if ending == DONE:
                self._report_success(key)
            self._in_flight.discard(key)
            if ending == PUT_OFF:
                self._calls.throttle.refused(key, began, self._runtime.now())
            elif ending != GIVEN_UP:
                self._back_off(key, ending == DONE, ending == REFUSED)
            self._wake()

    async def _run(self, action: Action) -> bool:
        """Perform the steps and report them. Returns whether AWS shows their effect."""
        if isinstance(action.wanted, FenceStep):
            return await self._run_fence(action, action.wanted)
        began = self._runtime.now()
        obstacle = await perform(action.steps, self._tools)
        took = (self._runtime.now() - began) * 1000
        if obstacle:
            if self._refusals.note(action.key, action.reason, obstacle, "", self._runtime.now()):
                text = f"{action.reason}; {obstacle} {int(took)} ms after the write; retrying"
                self._emit(action.key[0], text, logging.WARNING)  # route, address
            return False
        if isinstance(action.wanted, SetRoute):
            self.replaced.setdefault(action.wanted.claim, action.wanted.before)
        what = action.reason.removeprefix(f"{action.kind} ")  # the kind of the event says it already
        self._emit(action.kind, f"{what}; done in {int(took)} ms", **action.details, ms=round(took, 1))
        return True

    async def _run_fence(self, action: Action, wanted: FenceStep) -> bool:
        """A step that may stop a peer is reported before it is taken.

        The lock is reported when it is known who has it.
        """
        lock = wanted.step in LOCK_STEPS
        if not lock:
            level = logging.WARNING if wanted.step in DISRUPTIVE else logging.INFO
            self._emit("fence", action.reason, level, **action.details)
        obstacle = await perform(action.steps, self._tools)
        if lock and wanted.step != "renew":  # a renewal is no news
            self._emit("fence", "; ".join(filter(None, (action.reason, obstacle))), **action.details)
        elif obstacle and not lock:
            self._refusals.note(action.key, action.reason, obstacle, "", self._runtime.now())
            self._emit("fence", f"{wanted.step} {wanted.peer}: {obstacle}", **action.details)
        return not obstacle

    def _back_off(self, key: Key, done: bool, lasting: bool = False) -> None:
        """A failed key may be tried again after a time that doubles with each failure, with jitter.

        A step of a fence, or an Elastic IP, that was refused for a reason that ``lasting`` waits
        much longer. A route does not: its packets are lost meanwhile.
        """
        if done:
            self._failures.pop(key, None)
            self._not_before.pop(key, None)
            return
        self._failures[key] = self._failures.get(key, 0) + 1
        ceiling = min(BACKOFF_FIRST * 2 ** min(self._failures[key], 10), BACKOFF_MOST)
        if lasting and key[0] in PATIENT:
            ceiling = BACKOFF_LASTING
        self._not_before[key] = self._runtime.now() + ceiling * self._runtime.random.uniform(0.5, 1.0)

    def _report_success(self, key: Key) -> None:
        """The end of failures that ended well."""
        ended, now = self._refusals.end(key), self._runtime.now()
        if ended is not None:
            text = f"{' '.join(key)}: done after {ended.attempts} failed attempts"
            self._emit("failed_ended", text, attempts=ended.attempts, lasted_s=round(now - ended.first_at, 1))

    def _report_failure(self, action: Action, error: AwsError) -> None:
        """One line for each new reason, but only one for a time of throttling, which hundreds of
        calls may meet.
        """
        key, throttled, throttle = action.key, error.code in THROTTLED, self._calls.throttle
        news = self._refusals.note(key, action.reason, str(error), error.code, self._runtime.now())
        if news and not (throttled and throttle.reported):
            more = "; throttled writes are tried again at the pace that EC2 allows" if throttled else ""
            details = {**action.details, "code": error.code}
            self._emit("failed", "{}: {}{}".format(" ".join(key), error, more), logging.ERROR, **details)
        throttle.reported = throttle.reported or throttled

    # --- tags of this node and of the cluster -----------------------------------------------------

    async def tag_self(self, key: str, value: str | None) -> None:
        """Write (None: remove) a tag on this node's own instance. Raises ``NatFailoverError``."""
        self.tagging = True
        try:
            await self.tag(self.config.self_name, key, value)
        finally:
            self.tagging = False

    async def tag(self, name: str, key: str, value: str | None) -> None:
        """Write (None: remove) a tag on a node's instance. Raises ``NatFailoverError``."""
        instance, ec2 = self._collector.instance_id(name), self._calls.ec2
        if value is None:
            await self._calls.call(ec2.delete_tag, instance, key)
        else:
            await self._calls.call(ec2.set_tag, instance, key, value)

    def flare(self, wanted: bool) -> None:
        """Begin or end the flare of this node."""
        if wanted != self._flare.is_set():
            (self._flare.set if wanted else self._flare.clear)()

    async def flare_work(self) -> None:
        """While wanted, rewrite the flare: this node lives and reaches EC2.

        A refusal that lasts is evidence, too: no peer can see this node.
        """
        failures = 0
        while True:
            await self._flare.wait()
            try:
                name = self.config.self_name
                await self.tag(name, TAG_FLARE, self._liveness.next(FLARE, self._collector.instance_id(name)))
                self._report_success(FLARE_KEY)
                failures = self._note_flare(0, "", "")
            except NatFailoverError as error:
                code = error.code if isinstance(error, AwsError) else ""
                failures = self._note_flare(failures + 1, code, str(error))
                news = self._refusals.note(FLARE_KEY, "rewrite the flare", str(error), code, self._runtime.now())
                if news and not self._collector.me.unseen:  # which the policy reports
                    self._emit("failed", f"flare: {error}", logging.WARNING)
            await self._runtime.sleep(probe_plan.FLARE_INTERVAL)

    def _note_flare(self, failures: int, code: str, problem: str) -> int:
        """Give the state of the flare to the policy. Returns ``failures``, those in a row."""
        if not failures or codes.lasting(code) or failures >= UNSEEN_AFTER:
            self._collector.note_unseen(problem)
        return failures
