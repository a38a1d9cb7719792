# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of the hooks: reads events, runs programs, from start to SIGTERM."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..model.text import plain
from .follower import Follower
from .settings import Hook
from .waiting import Event, Waiting

LOG = logging.getLogger("nat-failover")
EVERY = 1.0  # seconds between readings
TRY_AGAIN = 75  # the exit code for "later" (EX_TEMPFAIL of sysexits.h)
TRIES, PAUSE = 3, 10.0  # in all, and seconds between them
SHOWN = 4096  # characters of a program's output in the journal
SCHEMA = 1

Runner = t.Callable[..., tuple[int, str, str]]  # (argv, *, timeout, stdin) -> (exit code, stdout, stderr)


class Hooks:
    """Runs the hooks of one node, one event at a time for each of them."""

    def __init__(self, hooks: t.Sequence[Hook], socket: str, runner: Runner) -> None:
        """``socket``: the service's socket for readers. ``runner`` starts a program and waits."""
        self.follower = Follower(socket)
        self._hooks = {hook.name: (hook, Waiting(hook.events)) for hook in hooks}
        self._runner = runner
        self._threads = ThreadPoolExecutor(max_workers=max(1, len(hooks)), thread_name_prefix="hook")
        self._news = {name: asyncio.Event() for name in self._hooks}

    async def live(self) -> None:
        """Read and run until it is cancelled."""
        workers = [asyncio.ensure_future(self._work(name)) for name in self._hooks]
        try:
            while True:
                for event in await self.follower.read():
                    self.take(event)
                await asyncio.sleep(EVERY)
        finally:
            for worker in workers:
                worker.cancel()
            self._threads.shutdown(wait=False)

    def take(self, event: Event) -> None:
        """Give an event to the hooks that want it."""
        for name, (_hook, waiting) in self._hooks.items():
            before = waiting.dropped
            if waiting.add(event, time.monotonic()):
                self._news[name].set()
            if waiting.dropped > before:
                LOG.warning("hook %s: too slow, %d events were dropped so far", name, waiting.dropped)

    async def _work(self, name: str) -> None:
        hook, waiting = self._hooks[name]
        while True:
            event = waiting.next()
            if event is None:
                self._news[name].clear()
                await self._news[name].wait()
            else:
                await self._run(hook, event)

    async def _run(self, hook: Hook, event: Event) -> None:
        """Run a program for one event, again if it asks for that. Its failure ends nothing."""
        stdin = json.dumps({"schema": SCHEMA, "hook": hook.name, **event}) + "\n"
        for attempt in range(1, TRIES + 1):
            loop = asyncio.get_running_loop()
            code, out, err = await loop.run_in_executor(self._threads, self._call, hook, stdin)
            told = plain(" ".join((out + " " + err).split())[:SHOWN])
            if code == 0:
                LOG.info("hook %s: event %s (%s) is done%s", hook.name, event.get("seq"), event.get("kind"), _and(told))
                return
            LOG.warning(
                "hook %s: event %s (%s), attempt %d: exit code %d%s",
                *(hook.name, event.get("seq"), event.get("kind"), attempt, code, _and(told)),
            )
            if code != TRY_AGAIN or attempt == TRIES:
                return
            await asyncio.sleep(PAUSE)

    def _call(self, hook: Hook, stdin: str) -> tuple[int, str, str]:
        return self._runner(list(hook.run), timeout=hook.timeout, stdin=stdin)


def _and(text: str) -> str:
    return f": {text}" if text else ""


async def serve(hooks: t.Sequence[Hook], socket: str, runner: Runner, ready: t.Callable[[str], None]) -> None:
    """Run hooks until SIGTERM or SIGINT. ``ready`` gets systemd's message."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    life = asyncio.ensure_future(Hooks(hooks, socket, runner).live())
    ready(f"READY=1\nSTATUS=follows the events of the service for {len(hooks)} hooks")
    end = asyncio.ensure_future(stopping.wait())
    await asyncio.wait([life, end], return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        life.result()  # it ends only by an error, and systemd restarts it
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
