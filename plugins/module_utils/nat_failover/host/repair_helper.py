# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-repair: what this node owns it mends at once, by a root helper that knows two words and nothing else.

The service runs unprivileged. systemd starts the helper (``nat-failover repair``) for each connection to a socket that only the service's
group may open; it reads one word, mends, answers one line and ends. What it writes comes from the configuration, never from the asker.
"""

from __future__ import annotations

import asyncio
import os
import typing as t
from collections import deque

from ..errors import NatFailoverError
from ..model.settings import Config
from . import kernel as system

RULES, SYSCTLS = "rules", "sysctls"
WITHIN = 3.0  # seconds for one repair
MOST, WINDOW = 3, 600.0  # more than so many repairs of one thing within so many seconds are a fight
AGAIN_AFTER = 10.0  # seconds after a repair that failed
CHANGED, NOTHING, FAILED = "mended", "nothing to mend", "failed"


# --- as root ---------------------------------------------------------------------------------------------------------------------


def answer(word: str, config: Config, runner: system.Runner, proc: str = system.PROC) -> str:
    """Do what the word says; the line to answer."""
    try:
        if word == RULES:
            changed = system.apply_rules(config.nat, runner)
        elif word == SYSCTLS:
            changed = system.write_sysctls(system.sysctls(config.nat), proc)
        else:
            return "%s: unknown word %r; known: %s, %s" % (FAILED, word[:20], RULES, SYSCTLS)
    except NatFailoverError as error:
        return "%s: %s" % (FAILED, str(error).replace("\n", " "))
    return CHANGED if changed else NOTHING


# --- in the service --------------------------------------------------------------------------------------------------------------


class Mender:
    """Asks the helper, and stops when somebody else keeps undoing what was mended."""

    def __init__(self, path: str, clock: t.Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._failed: t.Dict[str, t.Tuple[float, str]] = {}
        self._mended: t.Dict[str, t.Deque[float]] = {RULES: deque(), SYSCTLS: deque()}

    @property
    def available(self) -> bool:
        """Is there a helper? On hosts that the role did not set up there is none."""
        return os.path.exists(self._path)

    def fight(self, word: str) -> str:
        """In words, when this was mended so often lately that somebody else must be at it; empty: mend."""
        times = self._mended[word]
        while times and times[0] <= self._clock() - WINDOW:
            times.popleft()
        if len(times) < MOST:
            return ""
        return "mended %d times within %d minutes, and undone again: who else manages %s here?" % (
            MOST,
            WINDOW / 60,
            "the firewall" if word == RULES else "sysctls",
        )

    async def mend(self, word: str) -> str:
        """Let the helper mend; why it could not, empty when it could. After a failure it is left alone for a while."""
        at, problem = self._failed.get(word, (float("-inf"), ""))
        if self._clock() - at < AGAIN_AFTER:
            return problem
        problem = await self._try(word)
        if problem:
            self._failed[word] = self._clock(), problem
        else:
            self._mended[word].append(self._clock())
        return problem

    async def _try(self, word: str) -> str:
        try:
            line = await asyncio.wait_for(self._ask(word), WITHIN)
        except asyncio.TimeoutError:
            return "%s: no answer within %d s" % (self._path, WITHIN)
        except (OSError, ValueError) as error:
            return "%s: %s" % (self._path, error)
        return "" if line in (CHANGED, NOTHING) else line or "the helper ended without an answer"

    async def _ask(self, word: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=4096)
        try:
            writer.write(word.encode("ascii") + b"\n")
            await writer.drain()
            return (await reader.readline()).decode("utf-8", "replace").strip()
        finally:
            writer.close()
