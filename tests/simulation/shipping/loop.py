# SPDX-License-Identifier: GPL-3.0-or-later
"""An asyncio event loop whose time is an incident's timeline. One loop is one process on one host."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import typing as t

from ..timeline import Timeline


class ProcessLoop(asyncio.AbstractEventLoop):
    """Runs callbacks by the timeline. ``gate(run)`` decides what becomes of one that is due.

    A process that was killed runs nothing any more. A frozen one runs it when it thaws: the gate keeps it until then.
    """

    def __init__(self, timeline: Timeline, gate: t.Callable[[t.Callable[[], None]], None]) -> None:
        self._timeline = timeline
        self._gate = gate
        self.problem: BaseException | None = None  # an error that no task handles

    def time(self) -> float:
        return self._timeline.now

    def call_soon(
        self, callback: t.Callable[..., t.Any], *args: t.Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._timeline.after(0.0, lambda: self._due(handle))
        return handle

    def call_later(
        self,
        delay: float,
        callback: t.Callable[..., t.Any],
        *args: t.Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: t.Callable[..., t.Any],
        *args: t.Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timeline.after(max(0.0, when - self.time()), lambda: self._due(handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: a cancelled handle is passed over when it is due."""

    def _due(self, handle: asyncio.Handle) -> None:
        """A frozen process may cancel it between now and its thaw."""
        if not handle.cancelled():
            self._gate(lambda: None if handle.cancelled() else self.run(handle._run))

    def run(self, callback: t.Callable[[], t.Any]) -> None:
        """Call something as a callback of this loop."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            callback()
        finally:
            asyncio._set_running_loop(outer)

    def end(self) -> None:
        """The process was killed: its coroutines end where they are, and nothing goes on waiting for them."""
        for task in asyncio.all_tasks(self):
            self.run(lambda task=task: _end(task.get_coro()))  # type: ignore[misc]

    def create_future(self) -> asyncio.Future[t.Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: t.Any, **more: t.Any) -> asyncio.Task[t.Any]:
        return asyncio.Task(coro, loop=self, **more)

    def call_exception_handler(self, context: dict[str, t.Any]) -> None:
        # Without an exception it is a task that ended with its process: nobody waits for it.
        self.problem = self.problem or context.get("exception")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False


def _end(coroutine: t.Any) -> None:
    """Let a coroutine end, also one that waits for something as it ends: each time it is interrupted again."""
    while inspect.getcoroutinestate(coroutine) in (inspect.CORO_CREATED, inspect.CORO_SUSPENDED):
        with contextlib.suppress(BaseException):
            coroutine.throw(asyncio.CancelledError)
