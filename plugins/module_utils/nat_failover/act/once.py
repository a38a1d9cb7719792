# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps without a service: for the Ansible module, by the same path that the service takes."""

from __future__ import annotations

import asyncio
import typing as t

from ..aws.ec2 import Ec2
from ..errors import NatFailoverError
from ..model.cluster import AddressView, Claim, InstanceView, RouteView
from ..model.plan import FenceStep
from ..runtime.base import Runtime
from .ec2_calls import Ec2Calls
from .steps import ReplaceRoute, Tools, perform


class Readings:
    """Fits ``steps.Evidence`` and ``steps.FenceLock``, for steps that need neither instances nor
    the lock.
    """

    def __init__(self) -> None:
        self.routes: dict[Claim, RouteView] = {}  # as they were read after the writes
        self.instances: t.Mapping[str, InstanceView] = {}

    def note_route(self, claim: Claim, view: RouteView) -> None:
        """Keep a reading."""
        self.routes[claim] = view

    def note_addresses(self, views: t.Mapping[str, AddressView]) -> None:
        """Elastic IPs are not read."""

    async def read_since(self, moment: float) -> None:
        """Instances are not read."""

    async def carry_out(self, step: FenceStep) -> bool:
        """Refuse: only a service may hold the fence lock."""
        raise NatFailoverError(f"{step}: the fence lock needs the running service")


def write_routes(
    steps: t.Sequence[ReplaceRoute], ec2: Ec2, runtime: t.Callable[[], Runtime], readings: Readings | None = None
) -> str:
    """Perform steps side by side in an event loop of this call.

    Returns "" when EC2 shows them all, else the first obstacle.

    ``runtime`` makes the runtime in that loop. Raises the first ``AwsError``, after all steps have
    ended.
    """

    async def work() -> list[str | BaseException]:
        made = runtime()
        calls = Ec2Calls(ec2, made)
        found = Readings() if readings is None else readings
        try:
            tools = Tools(calls, found, found, made.now)
            return await asyncio.gather(*(perform((step,), tools) for step in steps), return_exceptions=True)
        finally:
            calls.close()

    ended = asyncio.run(work())
    for result in ended:
        if isinstance(result, BaseException):
            raise result
    return next((result for result in ended if isinstance(result, str) and result), "")
