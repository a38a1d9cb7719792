# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this node proves about itself: the facts of its kernel, its canary's word, and repairs where it owns what is broken.

Looks at once when the kernel gives notice or the canary gets no answer, else at an easy pace: reading the rules spawns two processes a family of addresses.
It concludes one thing only, the first failing fact in words.
"""

from __future__ import annotations

import asyncio
import logging
import typing as t
from concurrent.futures import Executor

from ..host import canary_process as canary
from ..host import kernel as system
from ..host import netlink as notices
from ..host.repair_helper import Mender
from ..model.settings import Config
from ..timing import Pause, Rhythm
from . import capacity as limits
from . import forwarding_facts as forwarding

LOOK_EVERY = 1.0  # seconds between looks at what costs nothing
RULES_EVERY = 2.0  # ... and at the rules, where nobody tells of changes
RULES_TOLD_EVERY = 30.0  # ... where the kernel does
RULES_PAUSE = 0.5  # also when notices come without end
SETTLE = 0.03  # seconds after a notice: changes come in groups
LOST_AFTER = 2  # rounds of the canary without enough answers
RETRY = 0.05  # seconds after the first such round
BUSY, QUIET = 50.0, 0.2  # packets a second that are traffic; the share of it that is as good as none
FAMILIES = IPV4, IPV6 = ("IPv4", "IPv6")
OFF = "off"
LONGEST_DETAIL = 150  # characters; a heartbeat has room for little more


class Proof:
    """``fact`` is the first failing fact, empty when all is proven. ``mending`` is for the service only: who just looks changes nothing."""

    def __init__(
        self,
        config: Config,
        runner: system.Runner,
        pool: Executor,
        rhythm: Rhythm,
        source_dest_check: t.Callable[[], t.Optional[bool]],
    ) -> None:
        self.config = config
        self.fact = ""
        self.canary = ""  # the canary's state in words
        self.canary_aside = ""  # why its packets do not come in by the customers' interface; empty when they do
        self.facts: t.Optional[forwarding.Facts] = None  # as last seen
        self.limits = limits.Limits()
        self.mending = False
        self.on_news: t.Callable[[], None] = lambda: None
        self.on_quiet: t.Callable[[], None] = lambda: None  # customers' traffic has stopped: what does EC2 say?
        self.on_event: t.Callable[[str, str, int], None] = lambda kind, text, level: None
        self._runner = runner
        self._pool = pool
        self._clock = rhythm.clock
        self._rhythm = rhythm
        self._source_dest_check = source_dest_check
        self._mender = Mender(config.repair_socket, rhythm.clock)
        self._pause = Pause(rhythm)  # between two looks
        self._own = ""  # the kernel's and EC2's failing fact
        self._unanswered: t.Dict[str, str] = {}  # the canary's, by family
        self._heard: t.Dict[str, str] = {}  # what was heard of it, in words
        self._looked = self._told = False
        self._rules_problem = ""
        self._rules_every = RULES_EVERY
        self._rules_due = float("-inf")
        self._rules_read = float("-inf")
        self._limits_due = self._mended_at = float("-inf")
        self._forwarded: t.Optional[t.Tuple[float, int]] = None
        self._rate = 0.0
        self._told_of: t.Dict[str, str] = {}  # what was said last of each word's repair: an event is told once

    @property
    def complete(self) -> bool:
        """Has this node looked at all of itself since its start?"""
        return self._looked and len(self._heard) == len(FAMILIES)

    def work(self) -> t.Tuple[t.Coroutine[t.Any, t.Any, None], ...]:
        """The loops that the service runs."""
        return (self._look_forever(), *(self._ask_forever(family) for family in FAMILIES))

    def look_soon(self, rules: bool = False) -> None:
        """Something may have changed."""
        if rules:
            self._rules_due = min(self._rules_due, self._rules_read + RULES_PAUSE)
        self._pause.end()

    # --- facts -----------------------------------------------------------------------------------------------------------------------

    async def _look_forever(self) -> None:
        loop = asyncio.get_running_loop()
        subscribed = notices.subscribe()
        for each in subscribed:
            loop.add_reader(each, self._noticed, each)
        try:
            if notices.of_rules(subscribed) and await loop.run_in_executor(
                self._pool, system.rules_in_nftables, self._runner
            ):
                self._rules_every = RULES_TOLD_EVERY
            while True:
                self._pause.forget()
                await self._look()
                pause = min(LOOK_EVERY, max(0.0, self._rules_due - self._clock()))
                if await self._pause.wait(pause):
                    await asyncio.sleep(SETTLE)
        finally:
            for each in subscribed:
                loop.remove_reader(each)
                each.close()

    def _noticed(self, each: t.Any) -> None:
        notices.swallow(each)
        self.look_soon(rules=True)

    async def _look(self) -> None:
        facts = await self._facts()
        broken = forwarding.mendable(facts)
        note = ""
        if broken and self.mending and self.config.mode != "observe" and self._mender.available:
            note = await self._mend(broken)
            self._rules_due = float("-inf")
            facts = await self._facts()
        await self._watch_limits(facts)
        self.facts, fact = facts, forwarding.judge_facts(facts)
        self._own = "%s (%s)" % (fact, note) if fact and note else fact
        self._looked = True
        self._conclude()

    async def _facts(self) -> forwarding.Facts:
        now = self._clock()
        if now >= self._rules_due:
            self._rules_read, self._rules_due = now, now + self._rules_every
            self._rules_problem = await asyncio.get_running_loop().run_in_executor(
                self._pool, forwarding.rules_problem, self.config.nat, self._runner
            )
        self._watch_traffic(now)
        return forwarding.gather_facts(self.config.nat, self._rules_problem, self._source_dest_check())

    async def _watch_limits(self, facts: forwarding.Facts) -> None:
        now = self._clock()
        if now < self._limits_due:
            return
        self._limits_due = now + limits.READ_EVERY
        counters = await asyncio.get_running_loop().run_in_executor(self._pool, limits.read, self.config.nat.interface)
        began, ended = self.limits.update(counters, facts.conntrack_fill, now)
        for text in began:
            self.on_event("limit", text, logging.WARNING)
        for text in ended:
            self.on_event("limit", text, logging.INFO)

    @property
    def warnings(self) -> t.Tuple[str, ...]:
        """What an operator should look at, although packets get out."""
        facts = self.facts
        strict = facts is not None and facts.tcp_liberal == "0"
        own = (
            (self.canary.startswith("not there"), "the canary is %s" % self.canary),
            (strict, "nf_conntrack_tcp_be_liberal=0: late packets may reset living connections; run the role again"),
        )
        return (*self.limits.warnings, *(text for there, text in own if there))

    def _watch_traffic(self, now: float) -> None:
        """Nothing on this node sees a source/dest check that is on again but customers' packets not coming any more."""
        count = system.forwarded_packets()
        if self._forwarded is not None and now - self._forwarded[0] < LOOK_EVERY / 2:
            return
        if self._forwarded is not None:
            before, self._rate = self._rate, (count - self._forwarded[1]) / (now - self._forwarded[0])
            if before >= BUSY and self._rate <= before * QUIET:
                self.on_quiet()
        self._forwarded = now, count

    async def _mend(self, broken: t.Mapping[str, str]) -> str:
        """Mend what is broken; why something could not be, empty when all could."""
        for word, fact in broken.items():
            fight = self._mender.fight(word)
            if fight:
                self._tell_once(word, "fight", fact, fight)
                return fight
            problem = await self._mender.mend(word)
            if problem:
                self._tell_once(word, "not_mended", fact, problem)
                return problem
            self._told_of.pop(word, None)
            self._mended_at = self._clock()
            self.on_event("mended", fact, logging.WARNING)
        return ""

    def _tell_once(self, word: str, kind: str, fact: str, why: str) -> None:
        if self._told_of.get(word) != why:
            self.on_event(kind, "%s; %s" % (fact, why), logging.ERROR)
        self._told_of[word] = why

    # --- the canary ------------------------------------------------------------------------------------------------------------------

    async def _ask_forever(self, family: str) -> None:
        lost, known, check, asking = 0, None, None, canary.Asking("")
        while True:
            settings = self.config.canary
            asked = settings if family == IPV4 else settings.ipv6
            if settings != known:
                asking.close()
                known, check, asking = settings, None, canary.Asking(settings.socket)
                if settings.enabled and asked is not None:
                    check = forwarding.InternetCheck(
                        asked.targets,
                        minimum=asked.minimum,
                        timeout=settings.timeout,
                        reach=asking,
                    )
            if check is None:
                self._hear(family, OFF, "")
                await self._rhythm.rest(LOOK_EVERY)
                continue
            began = self._clock()
            try:
                ok, detail = await check.run()
            except canary.CanaryGone as error:
                self._hear(family, "not there: %s" % error, "")
                await self._rhythm.rest(settings.interval)
                continue
            # A round that began before a repair has asked the node of before the repair.
            lost = 0 if ok or began < self._mended_at else lost + 1
            self.canary_aside = asking.aside
            if ok:
                self._hear(family, "answered", "")
            elif lost >= LOST_AFTER:
                self._hear(family, "not answered", detail[:LONGEST_DETAIL])
            else:
                self.look_soon(rules=True)
            await self._rhythm.rest(settings.interval if ok else min(settings.interval, RETRY * lost))

    def _hear(self, family: str, state: str, problem: str) -> None:
        gone = state.startswith("not there")
        if gone and not any(each.startswith("not there") for each in self._heard.values()):
            self.on_event("canary", state, logging.WARNING)
        self._heard[family] = state
        # One word where there is no more to say.
        four, six = (self._heard.get(each, OFF) for each in FAMILIES)
        self.canary = four if six in (OFF, four) else "%s, over IPv6 %s" % (four, six)
        kind = "packets" if family == IPV4 else "IPv6 packets"
        self._unanswered[family] = "a client's %s get no answer: %s" % (kind, problem) if problem else ""
        self._conclude()

    def _conclude(self) -> None:
        fact = self._own or next((self._unanswered[each] for each in FAMILIES if self._unanswered.get(each)), "")
        if self.complete and (fact != self.fact or not self._told):
            self.fact, self._told = fact, True
            self.on_news()
