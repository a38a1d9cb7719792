# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 calls in threads of their own: each is reported as evidence, and route writes keep to the
pace that EC2 allows.
"""

from __future__ import annotations

import asyncio
import typing as t

from ..aws.ec2 import Ec2
from ..model.cluster import Claim, RouteView
from ..runtime.base import Runtime
from .throttle import AdaptiveThrottle, ReadBatcher

# Route tables written at the same time: as many as EC2 lets a VPC have without a request for more
# (Amazon VPC quotas). Threads that are not needed are not made.
WRITERS = 200
T = t.TypeVar("T")


class Ec2Calls:
    """Runs the blocking calls of the EC2 adapter. Each raises ``Ec2Error`` as the adapter does."""

    def __init__(
        self, ec2: Ec2, runtime: Runtime, answered: t.Callable[[bool, float], None] = lambda ok, began: None
    ) -> None:
        """``answered(True, began)`` is called after each call that EC2 answered.

        ``began``: ``Runtime.now``.
        """
        self.ec2 = ec2
        self.throttle = AdaptiveThrottle()
        self._runtime = runtime
        self._answered = answered
        self._writers = runtime.pool("write", WRITERS)
        # Of its own: a re-read does not queue behind all the writes
        self._reader = runtime.pool("reread", 1)
        self._batcher = ReadBatcher(self._read_routes)

    def close(self) -> None:
        """Start no further call. Calls under way are not waited for."""
        self._batcher.close()
        self._writers.close()
        self._reader.close()

    async def call(self, function: t.Callable[..., T], *arguments: t.Any) -> T:
        """The result of a method of the adapter. Raises the errors of that method."""
        began = self._runtime.now()
        result = await self._writers.run(function, *arguments)
        self._answered(True, began)
        return result

    async def write_route(self, claim: Claim, interface_id: str) -> None:
        """Point a route to a network interface.

        A success speeds up the writes that wait for their turn.
        """
        await self.call(self.ec2.write_route, claim, interface_id)
        self.throttle.granted()

    async def read_route(self, claim: Claim) -> RouteView:
        """The route of a claim, by a call that begins after this one.

        Reads of many claims share their calls.
        """
        return await self._batcher.read(claim)

    def _read_routes(self, claims: t.Sequence[Claim]) -> asyncio.Future[t.Mapping[Claim, RouteView]]:
        return self._reader.run(self.ec2.describe_routes, claims)
