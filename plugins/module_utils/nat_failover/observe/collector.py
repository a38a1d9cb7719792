# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The eyes of the service: keeps the newest evidence about EC2 and about this node, and never concludes anything.

All blocking work (EC2 calls, iptables) runs in a small thread pool of its own, apart from the writers', so that a slow read delays no write.
A reading is dated by the moment its call *began*: only then it is surely younger than a suspicion that began before.
"""

from __future__ import annotations

import asyncio
import logging
import random
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ..aws import imds
from ..aws.ec2 import THROTTLED, Ec2
from ..errors import Ec2Error, NatFailoverError
from ..model.cluster import Claim, InstanceView, RouteView, SelfCheck
from ..model.settings import Config
from ..policy import interruption as handover
from ..policy import membership as discovery
from ..timing import Pause, Rhythm
from .forwarding_check import Proof
from .internet_check import Internet
from .interruption_watch import Announcements

LOG = logging.getLogger("nat-failover")
MOST_READS = 3  # reads of EC2 under way at the same time
Call = t.Tuple[t.Any, ...]  # a function and its arguments
WHO_EVERY = 2.0  # seconds between looks at whether this machine is still the node
AGAIN = 1.0  # seconds after which a read that has failed is repeated, at the most; with jitter


class Gatherer:
    """Evidence about EC2 and this node. ``me``, ``routes`` and ``instances`` are replaced, never changed in place."""

    def __init__(
        self,
        config: Config,
        ec2: Ec2,
        runner: t.Callable[..., t.Tuple[int, str, str]],
        rhythm: Rhythm,
        news: t.Callable[[], None],
    ) -> None:
        self.config = config
        self.ec2 = ec2
        self.clock = rhythm.clock
        self._rhythm = rhythm
        self.news = news
        self.me = SelfCheck(fact="") if config.me.witness else SelfCheck()  # a witness has no forwarding to prove
        self.routes: t.Dict[Claim, RouteView] = {}
        self.instances: t.Dict[str, InstanceView] = {}
        self.homes: t.Optional[t.Mapping[str, str]] = None  # route table -> the node that its tag names
        self.claims = config.claims  # with those on tables that were found by their tags
        self._claimed = frozenset(config.claims)
        self._homes_began = float("-inf")
        self._homes_at: t.Optional[float] = None  # when the look that ``homes`` is from began
        self.roster = discovery.Roster()
        self._addresses: t.Dict[str, str] = {}  # the last that was known of each peer
        self._pool = ThreadPoolExecutor(max_workers=6, thread_name_prefix="read")
        self._pause = Pause(rhythm)  # between two readings
        self._read_began = float("-inf")
        self._reads: t.Set["asyncio.Future[None]"] = set()
        self._watch: t.Optional[float] = None
        self.internet = Internet(config, rhythm, self._internet_judged, self._tell)
        self.announcements = Announcements(config, self._pool, rhythm, news, self._tell)
        self.proof = Proof(config, runner, self._pool, rhythm, self._source_dest_check)
        self.proof.on_news = self._proven
        self.on_event: t.Callable[[str, str, int], None] = lambda kind, text, level: LOG.log(
            level, "%s: %s", kind, text
        )
        self.proof.on_quiet = self.read_soon
        self.problem = ""  # why EC2 does not answer, in words; empty when it does

    def work(self) -> t.Tuple[t.Coroutine[t.Any, t.Any, None], ...]:
        """The loops that the service runs."""
        loops = (self._read_loop(), self.internet.work(), self._identity_loop())
        return loops if self.config.me.witness else (*loops, self.announcements.work(), *self.proof.work())

    def close(self) -> None:
        self._pool.shutdown(wait=False)
        self.internet.close()

    def reconfigure(self, config: Config) -> None:
        """Forget what is no longer asked for; keep the rest."""
        self.config = self.proof.config = self.internet.config = self.announcements.config = config
        self._follow_homes(self.homes)
        names = {node.name for node in config.nodes}
        self.instances = {name: view for name, view in self.instances.items() if name in names}
        self.proof.look_soon(rules=True)  # others may be asked for now
        self.read_soon()

    @property
    def read_all(self) -> bool:
        """Is each claim's route known, also of tables that only their tags give to a node?"""
        return self.homes is not None and bool(self.routes) and self._claimed == self.routes.keys()

    @property
    def notices(self) -> t.Tuple[handover.Notice, ...]:
        """What EC2 has announced for this instance."""
        return self.announcements.standing

    @property
    def tables_at(self) -> t.Optional[float]:
        """When route tables were last looked for, if all that were found have been read."""
        return self._homes_at if self.read_all else None

    @property
    def judged(self) -> bool:
        """Has this node looked at itself since its start? Before that it has nothing to say to its peers."""
        proven = self.proof.complete or self.config.me.witness
        return proven and self.internet.judged

    def addresses(self) -> t.Dict[str, str]:
        """Where to send heartbeats: EC2's last word if known, else the configuration's (so that the API may be down at start)."""
        found = {}
        for node in self.config.peers:
            view = self.instances.get(node.name)
            # Kept while EC2 shows no instance: to forget the peer would be to begin anew with one that may only be hidden by a stale reading.
            address = (view.address if view is not None else None) or self._addresses.get(node.name) or node.address
            if address:
                found[node.name] = self._addresses[node.name] = address
        return found

    def instance_id(self, name: str) -> str:
        """The instance that a node is now; of this node, the machine that this runs on. Raises ``NatFailoverError``."""
        if name == self.config.self_name:
            found = self.me.instance_id or self.config.me.instance_id
        else:
            found = self.instances[name].instance_id if name in self.instances else ""
        if not found:
            raise NatFailoverError(
                "the instance id of %s is not known; does an instance carry the tag nat-failover:node=%s?"
                % (name, name)
            )
        return found

    def demand(self, needed: t.Optional[float], watch: t.Optional[float]) -> None:
        """What the policy asks for: routes and own checks younger than ``needed``, EC2 read every ``watch`` seconds; None: the usual pace."""
        if watch is not None and (self._watch is None or watch < self._watch):
            self.read_soon()
        self._watch = watch
        if needed is None:
            return
        if self._read_began < needed:
            self.read_soon()
        if self.me.internet_at is None or self.me.internet_at < needed:
            self.internet.check_soon()

    def read_soon(self) -> None:
        """Read EC2 now; a read that is under way does not count."""
        self._pause.end()

    def look_for_tables(self) -> None:
        """Look for route tables by their tags with the next reading, which is now."""
        self._homes_began = float("-inf")
        self.read_soon()

    async def read_since(self, moment: float) -> None:
        """Wait until the instances have been read by a call that began after ``moment``, or EC2 has not answered for a while."""
        deadline = moment + 3 * (self.config.ec2.connect_timeout + self.config.ec2.read_timeout)
        self.read_soon()
        while self.clock() < deadline and all(view.read_at < moment for view in self.instances.values()):
            await asyncio.sleep(0.05)

    def note_route(self, claim: Claim, view: RouteView) -> None:
        """Take in what a write re-read."""
        self._merge({claim: view}, {})

    def note_ec2(self, ok: bool, began: float, problem: str = "") -> None:
        """An EC2 call ended: the API answers this node, or not."""
        if ok:
            self.me = replace(self.me, ec2=True, ec2_at=max(began, self.me.ec2_at or began))
        elif self.me.ec2_at is None or began >= self.me.ec2_at:
            self.me = replace(self.me, ec2=False)
        self._ec2_said(problem)

    def _tell(self, kind: str, text: str, level: int) -> None:
        self.on_event(kind, text, level)

    def _ec2_said(self, problem: str) -> None:
        if bool(problem) != bool(self.problem):  # one line for an outage, not one for each kind of error in it
            self.on_event("ec2", problem or "the API answers", logging.WARNING if problem else logging.INFO)
        self.problem = problem

    # --- EC2 -----------------------------------------------------------------------------------------------------------------------

    async def _read_loop(self) -> None:
        ask = self._at_once
        while True:
            # Not awaited: a read that hangs must not hold up the next one, which a suspicion may ask for meanwhile.
            if len(self._reads) < MOST_READS:
                self._read_began = self.clock()
                read = asyncio.ensure_future(self._read(self._read_began, ask))
                self._reads.add(read)
                read.add_done_callback(self._read_ended)
            hurried = await self._pause.wait(self._watch or self.config.ec2.poll)
            ask = self._at_once if hurried or self._watch is not None else self._in_turn

    def _read_ended(self, read: "asyncio.Future[None]") -> None:
        self._reads.discard(read)
        if not read.cancelled() and read.exception() is not None:
            LOG.error("ec2: unexpected error while reading", exc_info=read.exception())

    def _at_once(self, calls: t.Sequence[Call]) -> "asyncio.Future[t.List[t.Any]]":
        """Each result, or what was raised instead, as soon as it can be."""
        loop = asyncio.get_running_loop()
        return asyncio.gather(*(loop.run_in_executor(self._pool, _result, call) for call in calls))

    def _in_turn(self, calls: t.Sequence[Call]) -> "asyncio.Future[t.List[t.Any]]":
        """The same for who is not in a hurry: threads that ask side by side spend more on waiting for each other than on asking."""
        return asyncio.get_running_loop().run_in_executor(self._pool, lambda: [_result(call) for call in calls])

    async def _read(self, began: float, ask: t.Callable[[t.Sequence[Call]], "asyncio.Future[t.List[t.Any]]"]) -> None:
        config = self.config
        calls: t.List[Call] = [
            (self.ec2.describe_routes, self.claims),
            (self.ec2.find_instances, config.nodes, config.cluster),
        ]
        if began - self._homes_began >= config.ec2.poll * 0.9:  # not in a burst: tables are not found in a hurry
            self._homes_began = began
            calls.append((self.ec2.describe_homes, config.cluster))
        # Each is dated by the beginning of all, whatever the adapter stamps.
        found = await ask(calls)
        problems = [result for result in found if isinstance(result, Ec2Error)]
        for result in found:
            if isinstance(result, BaseException) and not isinstance(result, Ec2Error):
                raise result
        routes = (
            {claim: replace(view, read_at=began) for claim, view in found[0].items()}
            if isinstance(found[0], dict)
            else {}
        )
        instances = self._choose(found[1], began) if isinstance(found[1], dict) else {}
        if len(found) == 3:
            self._looked(found[2], began)
        checked = self._source_dest_check()
        self._merge(routes, instances)
        if checked != self._source_dest_check():
            self.proof.look_soon()
        if problems and all(problem.code in THROTTLED for problem in problems):
            # An answer, too, although not a reading: EC2 is there and knows me. To ask sooner would spend what a takeover needs.
            self._ec2_said(str(problems[0]))
        else:
            self.note_ec2(not problems, began, str(problems[0]) if problems else "")
            if problems and self._watch is None:
                # A moment without the API must not last until the next poll: so long this node could take nothing.
                asyncio.get_running_loop().call_later(
                    min(self.config.ec2.poll, AGAIN) * random.uniform(0.5, 1.0), self.read_soon
                )
        self.news()

    def _looked(self, homes: t.Any, began: float) -> None:
        """Route tables were looked for by their tags; what failed is repeated with the next reading, if EC2 does not throttle."""
        if isinstance(homes, dict):
            self._homes_at = max(began, self._homes_at or began)
            self._follow_homes(homes)
        elif homes.code not in THROTTLED:
            self._homes_began = float("-inf")

    def _follow_homes(self, homes: t.Optional[t.Mapping[str, str]]) -> None:
        """Claims come and go with the tags of route tables, as with the configuration."""
        self.homes = homes
        claims = discovery.claims(self.config, homes or {})
        if claims == self.claims:
            return
        new, old = ({claim.route_table for claim in each} for each in (claims, self.claims))
        self.on_event(
            "claims",
            "route tables %s" % (", ".join([*("+" + each for each in new - old), *("-" + each for each in old - new)])),
            logging.INFO,
        )
        self.claims, self._claimed = claims, frozenset(claims)
        self.routes = {claim: view for claim, view in self.routes.items() if claim in self._claimed}
        self.read_soon()

    def _choose(self, found: t.Mapping[str, InstanceView], began: float) -> t.Dict[str, InstanceView]:
        """Which of the instances are the nodes; says so when another one than before is."""
        before, config = self.roster.current, self.config
        chosen, self.roster = discovery.choose(config.nodes, config.cluster, found, self.roster, began)
        for name, instance in self.roster.current.items():
            if before.get(name, instance) != instance:
                self.on_event("replaced", "%s is %s now, it was %s" % (name, instance, before[name]), logging.WARNING)
        return {name: replace(view, read_at=began) for name, view in chosen.items()}

    def _merge(self, routes: t.Mapping[Claim, RouteView], instances: t.Mapping[str, InstanceView]) -> None:
        """Newer readings replace older ones; answers may arrive out of order."""
        self.routes = {
            **self.routes,
            **{
                c: v
                for c, v in routes.items()
                if c in self._claimed and (c not in self.routes or v.read_at >= self.routes[c].read_at)
            },
        }
        self.instances = {
            **self.instances,
            **{n: v for n, v in instances.items() if n not in self.instances or v.read_at >= self.instances[n].read_at},
        }

    # --- this node -------------------------------------------------------------------------------------------------------------------

    async def _identity_loop(self) -> None:
        """Who am I? The configuration's word counts until EC2 names another instance; then, or without it, IMDS is asked, once."""
        loop, told = asyncio.get_running_loop(), False
        while not self.me.instance_id:
            view, mine = self.instances.get(self.config.self_name), self.config.me.instance_id
            if not mine or (view is not None and view.instance_id not in ("", mine)):
                try:
                    found = await loop.run_in_executor(self._pool, imds.instance_identity)
                    self.me = replace(self.me, instance_id=found["instance_id"])
                    self.news()
                except Ec2Error as error:
                    if not told:
                        self.on_event("identity", str(error), logging.WARNING)
                    told = True
            await self._rhythm.rest(WHO_EVERY)
        await asyncio.Event().wait()  # an instance's id does not change

    def _source_dest_check(self) -> t.Optional[bool]:
        mine = self.instances.get(self.config.self_name)
        return mine.source_dest_check if mine is not None else None

    def _proven(self) -> None:
        fact = self.proof.fact
        self.on_event("forwarding", fact or "all facts are good", logging.WARNING if fact else logging.INFO)
        self.me = replace(self.me, forwarding=not fact, fact=fact)
        self.news()

    def _internet_judged(self) -> None:
        self.me = replace(self.me, internet=self.internet.reachable, internet_at=self.internet.proven_at)
        self.news()


def _result(call: Call) -> t.Any:
    """What it returns, or what it raises."""
    function, *args = call
    try:
        return function(*args)
    except Exception as error:  # pylint: disable=broad-except  # whoever reads it decides
        return error
