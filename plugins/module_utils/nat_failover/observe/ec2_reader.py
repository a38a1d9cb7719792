# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the newest readings of EC2: routes, instances, and the route tables that belong to the
cluster.

A reading is dated by the moment at which its call *began*. Only then it is surely younger than a
suspicion that began before. It may be answered out of order, and an older reading never replaces a
newer one.
"""

from __future__ import annotations

import asyncio
import logging
import typing as t
from dataclasses import replace

from ..aws.ec2 import THROTTLED, Ec2, parts
from ..errors import Ec2Error
from ..model.cluster import Claim, InstanceView, RouteView
from ..model.settings import Config
from ..policy import membership
from ..runtime.base import Pool, Runtime
from ..timing import Pause, TimerCoalescer
from .elastic_ips import ElasticIps
from .pooled_calls import Call, in_turn, result_of

LOG = logging.getLogger("nat-failover")
MOST_READS = 3  # readings under way at the same time
AGAIN = 1.0  # seconds after which a failed reading is repeated, at most; with jitter
SLOW = 1.0  # seconds of a reading in turn, from which on an early takeover needs the next one side by side
HOMES_EVERY = 0.9  # of ``ec2.poll_s``: tables are looked for so rarely, also while EC2 is read in a hurry
Ask = t.Callable[[t.Sequence[Call]], "asyncio.Future[list[t.Any]]"]  # makes calls, returns their results


class Ec2Reader:
    """``routes``, ``instances`` and ``homes`` are replaced, never changed in place."""

    def __init__(
        self,
        config: Config,
        ec2: Ec2,
        runtime: Runtime,
        timers: TimerCoalescer,
        pool: Pool,
        *,
        changed: t.Callable[[], None],
        emit: t.Callable[[str, str, int], None],
    ) -> None:
        """``changed()`` is called after each reading."""
        self.config = config
        self.routes: dict[Claim, RouteView] = {}
        self.instances: dict[str, InstanceView] = {}  # by the name of the node
        self.homes: t.Mapping[str, str] | None = None  # route table -> the node that its tag names
        self.elastic = ElasticIps(config, ec2, emit=emit)
        self.claims = config.claims  # with those on tables that were found by their tags
        self.answers = False  # the API answers this node
        self.answered_at: float | None = None  # when the newest call that it answered began
        self.problem = ""  # why the API gives no reading, in words
        self.problem_code = ""  # the code of that error (``AwsError.code``)
        self.problem_since: float | None = None  # since when it gives none
        self._ec2 = ec2
        self._runtime = runtime
        self._pool = pool
        self._changed = changed
        self._emit = emit
        self._claimed = frozenset(config.claims)
        self._roster = membership.Roster()
        self._tagged: t.AbstractSet[str] = frozenset()  # instances that carried the cluster's tag
        self._homes_began = float("-inf")
        self._homes_at: float | None = None  # when the search began that ``homes`` is from
        self._pause = Pause(timers)  # between two readings
        self._read_began = float("-inf")
        self._took = 0.0  # seconds that the last reading took
        self._reads: set[asyncio.Future[None]] = set()
        self._watch: float | None = None

    @property
    def read_all(self) -> bool:
        """Whether each claim's route is known, also on tables that only their tags give to a node."""
        return self.homes is not None and bool(self.routes) and self._claimed == self.routes.keys()

    @property
    def tables_at(self) -> float | None:
        """When route tables were last searched for, if all that were found have been read.

        Else None.
        """
        return self._homes_at if self.read_all else None

    def reconfigure(self, config: Config) -> None:
        """Forget the nodes and claims that are not configured any more, and read EC2 now."""
        self.config = self.elastic.config = config
        self._follow_homes(self.homes)
        names = {node.name for node in config.nodes}
        self.instances = {name: view for name, view in self.instances.items() if name in names}
        self.read_soon()

    def demand(self, needed: float | None, watch: float | None) -> None:
        """Read routes that are younger than the moment ``needed``, and then each ``watch`` seconds.

        None: at the usual pace.
        """
        tighter = watch is not None and (self._watch is None or watch < self._watch)
        self._watch = watch
        if tighter or (needed is not None and self._read_began < needed):
            self.read_soon()

    def read_soon(self) -> None:
        """Read EC2 now. A reading that is under way does not count."""
        self._pause.end()

    def find_tables(self) -> None:
        """Read EC2 now, and search for route tables by their tags."""
        self._homes_began = float("-inf")
        self.read_soon()

    async def read_since(self, moment: float) -> None:
        """Wait until the instances were read by a call that began after ``moment``, or EC2 has not
        answered for long.
        """
        deadline = moment + 3 * (self.config.ec2.connect_timeout + self.config.ec2.read_timeout)
        self.read_soon()
        while self._runtime.now() < deadline and all(view.read_at < moment for view in self.instances.values()):
            await self._runtime.sleep(0.05)

    def note(self, ok: bool, began: float, problem: str = "", code: str = "") -> None:
        """Note that an EC2 call, begun at ``began``, was answered (``ok``) or failed (why, in words,
        and the code of the error).
        """
        if ok:
            self.answers, self.answered_at = True, max(began, self.answered_at or began)
        elif self.answered_at is None or began >= self.answered_at:
            self.answers = False
        self._note_problem(problem, code)

    def merge(self, routes: t.Mapping[Claim, RouteView], instances: t.Mapping[str, InstanceView]) -> None:
        """Take in readings. One that is older than the kept one is dropped."""
        newer = {
            claim: view
            for claim, view in routes.items()
            if claim in self._claimed and (claim not in self.routes or view.read_at >= self.routes[claim].read_at)
        }
        self.routes = {**self.routes, **newer}
        current = {
            name: view
            for name, view in instances.items()
            if name not in self.instances or view.read_at >= self.instances[name].read_at
        }
        self.instances = {**self.instances, **current}

    # --- the loop ---------------------------------------------------------------------------------

    async def work(self) -> None:
        """The loop that the service runs."""
        hurried = True
        while True:
            # Not awaited: a reading that hangs must not delay the next one, which a suspicion may
            # need. Idle polls never overlap, so they leave room for it.
            if len(self._reads) < (MOST_READS if hurried else 1):
                self._read_began = self._runtime.now()
                ask = self._side_by_side if hurried or self._adds_up() else self._in_turn
                read = asyncio.ensure_future(self.read(self._read_began, ask))
                self._reads.add(read)
                read.add_done_callback(self._read_ended)
            ended_early = await self._pause.wait(self._watch or self.config.ec2.poll)
            hurried = ended_early or self._watch is not None

    def _read_ended(self, read: asyncio.Future[None]) -> None:
        self._reads.discard(read)
        if not read.cancelled() and read.exception() is not None:
            LOG.error("ec2: unexpected error while reading", exc_info=read.exception())

    def _side_by_side(self, calls: t.Sequence[Call]) -> asyncio.Future[list[t.Any]]:
        """Each result, or the exception raised instead, as soon as possible."""
        return asyncio.gather(*(self._pool.run(result_of, call) for call in calls))

    def _adds_up(self) -> bool:
        """Whether calls in turn would make a reading too old for an early takeover."""
        return self.config.takeover.early and self._took > SLOW

    def _in_turn(self, calls: t.Sequence[Call]) -> asyncio.Future[list[t.Any]]:
        """The same for idle polling.

        Parallel calls cost more CPU than they save, by contention for the interpreter.
        """
        return self._pool.run(in_turn, calls)

    # --- a reading --------------------------------------------------------------------------------

    async def read(self, began: float, ask: Ask | None = None) -> None:
        """One reading of everything, dated by ``began``. A failure is noted and not raised.

        All calls go out at once: a takeover waits for one answer of EC2 and not for one after
        another.
        """
        config, ask = self.config, ask or self._in_turn
        named = self._instance_ids() - self._tagged
        routes: list[Call] = [(self._ec2.describe_routes, part) for part in parts(self.claims)]
        instances: list[Call] = [(self._ec2.tagged_instances, config.cluster)]
        if named:
            instances.append((self._ec2.named_instances, named))
        homes: list[Call] = []
        if began - self._homes_began >= config.ec2.poll * HOMES_EVERY:
            self._homes_began = began
            homes.append((self._ec2.describe_homes, config.cluster))
        elastic = self.elastic.calls()
        results = await ask([*routes, *instances, *homes, *elastic])
        if elastic:
            self.elastic.note(results.pop(), began)
        found = results[len(routes) : len(routes) + len(instances)]
        found += await self._find_missing(found, named, ask)
        results += found[len(instances) :]
        self._took = self._runtime.now() - began
        problems = [result for result in results if isinstance(result, Ec2Error)]
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Ec2Error):
                raise result
        # All are dated by the beginning of the reading, whatever the adapter stamps.
        views = {
            claim: view for part in results[: len(routes)] if isinstance(part, dict) for claim, view in part.items()
        }
        dated = {claim: replace(view, read_at=began) for claim, view in views.items()}
        complete = all(isinstance(each, dict) for each in found)
        chosen = self._choose({key: view for each in found for key, view in each.items()}, began) if complete else {}
        if homes:
            self._note_homes(results[len(routes) + len(instances)], began)
        self.merge(dated, chosen)
        self._note_answers(problems, began)
        self._changed()

    def _instance_ids(self) -> set[str]:
        """The instances that the configuration names."""
        return {node.instance_id for node in self.config.nodes if node.instance_id}

    async def _find_missing(self, found: t.Sequence[t.Any], named: t.AbstractSet[str], ask: Ask) -> list[t.Any]:
        """Read the instances by id that lost the cluster's tag since the reading before.

        The next reading asks for them by id from the start.
        """
        tagged = found[0]
        if not isinstance(tagged, dict):
            return []
        self._tagged = tagged.keys()
        lost = self._instance_ids() - named - self._tagged
        return await ask([(self._ec2.named_instances, lost)]) if lost else []

    def _note_answers(self, problems: t.Sequence[Ec2Error], began: float) -> None:
        if problems and all(problem.code in THROTTLED for problem in problems):
            # EC2 answers and knows this node, although it gave no reading. A retry would spend
            # calls that a takeover may need.
            self._note_problem(str(problems[0]), problems[0].code)
            return
        self.note(not problems, began, *((str(problems[0]), problems[0].code) if problems else ()))
        if problems and self._watch is None:
            # Retry a failed reading soon: until one succeeds, this node cannot take anything over.
            soon = min(self.config.ec2.poll, AGAIN) * self._runtime.random.uniform(0.5, 1.0)
            self._runtime.later(soon, self.read_soon)

    def _note_problem(self, problem: str, code: str = "") -> None:
        """Report the begin and the end of an outage, and not each kind of error in it."""
        if bool(problem) != bool(self.problem):
            self.problem_since = self._runtime.now() if problem else None
            text = f"{problem}; reading again" if problem else "EC2 answers again"
            self._emit("ec2", text, logging.WARNING if problem else logging.INFO)
        self.problem, self.problem_code = problem, code

    # --- membership -------------------------------------------------------------------------------

    def _note_homes(self, homes: t.Any, began: float) -> None:
        """A search for tables ended.

        A failed one is repeated with the next reading, unless EC2 throttles.
        """
        if isinstance(homes, dict):
            self._homes_at = max(began, self._homes_at or began)
            self._follow_homes(homes)
        elif homes.code not in THROTTLED:
            self._homes_began = float("-inf")

    def _follow_homes(self, homes: t.Mapping[str, str] | None) -> None:
        """Claims come and go with the tags of route tables, as with the configuration."""
        self.homes = homes
        claims = membership.claims(self.config, homes or {})
        if claims == self.claims:
            return
        new, old = ({claim.route_table for claim in each} for each in (claims, self.claims))
        changes = [*("+" + each for each in new - old), *("-" + each for each in old - new)]
        self._emit("claims", "route tables of the cluster changed: {}".format(", ".join(changes)), logging.INFO)
        self.claims, self._claimed = claims, frozenset(claims)
        self.routes = {claim: view for claim, view in self.routes.items() if claim in self._claimed}
        self.read_soon()

    def _choose(self, found: t.Mapping[str, InstanceView], began: float) -> dict[str, InstanceView]:
        """Which of the instances is which node.

        A node that is another instance than before is reported.
        """
        before, config = self._roster.current, self.config
        chosen, self._roster = membership.choose(config.nodes, config.cluster, found, self._roster, began)
        for name, instance in self._roster.current.items():
            if before.get(name, instance) != instance:
                text = f"{name} is {instance} now, it was {before[name]}"
                self._emit("replaced", text, logging.WARNING)
        return {name: replace(view, read_at=began) for name, view in chosen.items()}
