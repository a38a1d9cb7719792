# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of a host on virtual time: its callbacks wait while the host is frozen, and end with the process."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from .host import Host


def nothing(_result: t.Any) -> None:
    """For calls whose end nobody waits for."""


class Hosted:
    """It ends with ``alive = False``."""

    def __init__(self, host: Host) -> None:
        self.host, self.timeline, self.cloud = host, host.timeline, host.cloud
        self.name = host.name
        self.alive = True

    def soon(self, seconds: float, do: t.Callable[[], t.Any]) -> None:
        """Once."""
        self.timeline.after(seconds, self._hosted(do))

    def loop(self, seconds: float, step: t.Callable[[], float]) -> None:
        """Again and again; each step says in how many seconds the next one is due."""
        after = self.timeline.after
        run = self._hosted(lambda: after(step(), run))
        after(seconds, run)

    def _hosted(self, do: t.Callable[[], t.Any]) -> t.Callable[[], None]:
        """A callback that dies with the process, and waits while the host is frozen."""
        host = self.host

        def run() -> None:
            if not self.alive:
                return
            if host.frozen or host.paused:
                host.stalled.append(run)
                return
            do()

        return run

    def call(
        self,
        action: str,
        apply: t.Callable[[], t.Any],
        done: t.Callable[[t.Any], None] = nothing,
        failed: t.Callable[[str], None] = nothing,
        subject: str = "",
    ) -> None:
        """An EC2 call."""
        self.cloud.call(
            self.name,
            action,
            self.host.reaches_ec2,
            apply,
            lambda result: self.soon(0.0, lambda: done(result)),
            lambda code: self.soon(0.0, lambda: failed(code)),
            subject,
        )
