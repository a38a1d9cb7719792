# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a client of this node answered?

The canary probes for it, in each family of addresses that clients use.
"""

from __future__ import annotations

import logging
import typing as t

from ..model.settings import Canary, Config
from ..runtime.base import Runtime
from ..timing import TimerCoalescer
from .canary_client import CanaryClient, CanaryGone
from .internet_check import InternetCheck

LOST_AFTER = 2  # rounds in a row without enough answers
RETRY = 0.05  # seconds after the first such round
OFF_PAUSE = 1.0  # seconds until a canary that is switched off is looked for again
FAMILIES = IPV4, IPV6 = ("IPv4", "IPv6")
OFF, GONE, ANSWERED = "off", "not there", "answered"
LONGEST_DETAIL = 150  # characters; a heartbeat has room for little more


class CanaryWatch:
    """``state`` is the canary's state in words.

    ``problem`` is why a client is not answered, "" if it is.
    """

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        timers: TimerCoalescer,
        *,
        repaired_at: t.Callable[[], float],
        changed: t.Callable[[], None],
        lost: t.Callable[[], None],
        emit: t.Callable[[str, str, int], None],
    ) -> None:
        """``repaired_at()`` is when this node repaired itself last.

        ``changed()`` is called after each result, and ``lost()`` after a first round without enough
        answers.
        """
        self.config = config
        self.state = ""
        self.aside = ""  # why the canary's packets do not come in by the interface of clients; "" if they do
        self._runtime = runtime
        self._timers = timers
        self._repaired_at = repaired_at
        self._changed, self._lost, self._emit = changed, lost, emit
        self._states: dict[str, str] = {}  # by family, in words
        self._unanswered: dict[str, str] = {}  # by family: why a client is not answered

    @property
    def complete(self) -> bool:
        """Whether each family has had a result since the start of the service."""
        return len(self._states) == len(FAMILIES)

    @property
    def gone(self) -> bool:
        """Whether the canary does not answer, which proves nothing against this node."""
        return any(each.startswith(GONE) for each in self._states.values())

    def answered(self, family: str) -> bool | None:
        """Whether a client of this family is answered. None without a result since the start."""
        state = self._states.get(family)
        return None if state is None else state == ANSWERED

    @property
    def problem(self) -> str:
        """Why a client of this node is not answered, in words.

        Empty if it is, or if that is not known.
        """
        return next((self._unanswered[each] for each in FAMILIES if self._unanswered.get(each)), "")

    def work(self) -> tuple[t.Coroutine[t.Any, t.Any, None], ...]:
        """The loops that the service runs."""
        return tuple(self._watch(family) for family in FAMILIES)

    async def _watch(self, family: str) -> None:
        lost, known, check = 0, None, None
        client = CanaryClient("", self._runtime)
        while True:
            settings = self.config.canary
            if settings != known:  # at the start, and after a reload that changed it
                client.close()
                known, client = settings, CanaryClient(settings.socket, self._runtime)
                check = self._check(family, settings, client)
            if check is None:
                self._conclude(family, OFF, "")
                await self._timers.rest(OFF_PAUSE)
                continue
            began = self._runtime.now()
            try:
                ok, detail = await check.run()
            except CanaryGone as error:
                self._conclude(family, f"{GONE}: {error}", "")
                await self._timers.rest(settings.interval)
                continue
            # A round that began before a repair has probed the node of before the repair.
            lost = 0 if ok or began < self._repaired_at() else lost + 1
            self.aside = client.aside
            if ok:
                self._conclude(family, ANSWERED, "")
            elif lost >= LOST_AFTER:
                self._conclude(family, "not answered", detail[:LONGEST_DETAIL])
            else:
                self._lost()
            await self._timers.rest(settings.interval if ok else min(settings.interval, RETRY * lost))

    def _check(self, family: str, settings: Canary, client: CanaryClient) -> InternetCheck | None:
        """The check of one family. None if it is not configured."""
        asked = settings if family == IPV4 else settings.ipv6
        if not settings.enabled or asked is None:
            return None
        return InternetCheck(
            self._runtime, asked.targets, minimum=asked.minimum, timeout=settings.timeout, reach=client
        )

    def _conclude(self, family: str, state: str, problem: str) -> None:
        if state.startswith(GONE) and not self.gone:
            self._emit("canary", state, logging.WARNING)
        self._states[family] = state
        # One state for both families, as long as they agree.
        four, six = (self._states.get(each, OFF) for each in FAMILIES)
        self.state = four if six in (OFF, four) else f"{four}, over IPv6 {six}"
        kind = "packets" if family == IPV4 else "IPv6 packets"
        self._unanswered[family] = f"a client's {kind} get no answer: {problem}" if problem else ""
        self._changed()
