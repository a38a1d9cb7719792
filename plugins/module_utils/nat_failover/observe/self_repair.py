# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-repair: a root helper repairs the rules and sysctls of this node, and this side asks it to.

Repairs end when another program keeps undoing them: then this node hands its routes over instead.
"""

from __future__ import annotations

import logging
import typing as t
from collections import deque

from ..host.repair_helper import IDENTITIES, RULES, SYSCTLS
from ..model.settings import Config
from ..runtime.base import Runtime
from . import root_helper

WITHIN = 3.0  # seconds for one repair
MOST, WINDOW = 3, 600.0  # more than so many repairs of one thing within so many seconds are a fight
# Seconds. A program that reloads its rules takes them away table by table: repairs that follow the
# first one so soon count as one.
BURST = 2.0
AGAIN_AFTER = 10.0  # seconds after a repair that failed
WORDS = {SYSCTLS: "sysctls", RULES: "the firewall"}  # a request to the helper, and what it repairs


class NoHelper(Exception):
    """No helper listens on this host: the role nat_instance did not set it up."""


class SelfRepair:
    """Asks the helper for repairs. ``repaired_at`` is when the last one succeeded."""

    def __init__(self, config: Config, runtime: Runtime, emit: t.Callable[[str, str, int], None]) -> None:
        self.config = config
        self.repaired_at = float("-inf")
        self._runtime = runtime
        self._emit = emit
        self._failed: dict[str, tuple[float, str]] = {}
        self._repairs: dict[str, deque[float]] = {word: deque() for word in WORDS}
        self._reported: dict[str, str] = {}  # word -> the last failure that was reported

    async def repair(self, defects: t.Mapping[str, str]) -> str:
        """Repair one thing after the other: ``defects`` maps the helper's word to the defect in
        words.

        Returns "" when all are repaired, else the reason why one of them is not. Raises
        ``NoHelper``.
        """
        for word in WORDS:
            if word not in defects:
                continue
            fight = self.fight(word)
            problem = fight or await self.repair_one(word)
            if problem:
                if self._reported.get(word) != problem:
                    self._emit(
                        "fight" if fight else "not_mended", f"{defects[word]}; not repaired: {problem}", logging.ERROR
                    )
                self._reported[word] = problem
                return problem
            self._reported.pop(word, None)
            self.repaired_at = self._runtime.now()
            self._emit("mended", f"{defects[word]}; repaired", logging.WARNING)
        return ""

    async def translate(self, wanted: t.Mapping[str, str], seen: t.Mapping[str, str]) -> bool:
        """Let the helper bring the rules of identities into their states. Returns whether it did.

        It repairs nothing, so it counts for no fight. A failure is reported once, and the helper is
        not asked again for ``AGAIN_AFTER`` seconds.
        """
        differing = {name: state for name, state in wanted.items() if name in seen and seen[name] != state}
        at, _problem = self._failed.get(IDENTITIES, (float("-inf"), ""))
        if not differing or self._runtime.now() - at < AGAIN_AFTER:
            return False
        word = " ".join((IDENTITIES, *(f"{name}={state}" for name, state in sorted(differing.items()))))
        try:
            problem = await self._try(word)
        except NoHelper as error:
            problem = f"no helper listens on {error}"
        if problem and self._reported.get(IDENTITIES) != problem:
            self._emit("not_mended", f"the rules of {word}: {problem}", logging.ERROR)
        self._reported[IDENTITIES] = problem
        if problem:
            self._failed[IDENTITIES] = self._runtime.now(), problem
        return not problem

    def fight(self, word: str) -> str:
        """Why this must not be repaired again, in words: it was repaired too often lately.

        Empty: it may be.
        """
        times = self._repairs[word]
        while times and times[0] <= self._runtime.now() - WINDOW:
            times.popleft()
        if len(times) < MOST:
            return ""
        return (
            f"repaired {MOST} times or more within {WINDOW / 60:.0f} minutes, and undone again; find the program that "
            f"also manages {WORDS[word]} of this host"
        )

    async def repair_one(self, word: str) -> str:
        """Let the helper repair. Returns "" or the reason why it could not. Raises ``NoHelper``.

        After a failure the helper is not asked for ``AGAIN_AFTER`` seconds, and the same reason is
        returned.
        """
        at, problem = self._failed.get(word, (float("-inf"), ""))
        if self._runtime.now() - at < AGAIN_AFTER:
            return problem
        problem = await self._try(word)
        if problem:
            self._failed[word] = self._runtime.now(), problem
        else:
            self._count(word)
        return problem

    def _count(self, word: str) -> None:
        times, now = self._repairs[word], self._runtime.now()
        if not times or now - times[-1] >= BURST:
            times.append(now)

    async def _try(self, word: str) -> str:
        path = self.config.repair_socket
        try:
            return root_helper.refusal(await root_helper.ask(self._runtime, path, word, WITHIN))
        except FileNotFoundError:
            raise NoHelper(path) from None
