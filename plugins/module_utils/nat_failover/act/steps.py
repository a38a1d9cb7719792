# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that plans are made of.

Each is applied by one write to AWS and confirmed by what AWS shows afterwards.

A further write to AWS is a class here or in ``instance_steps``, its call with its permission in
``aws``, and its place in ``actions``. ``perform`` is the only place that writes and then reads
again (law L9).
"""

from __future__ import annotations

import asyncio
import typing as t
from dataclasses import dataclass

from ..aws.ec2 import UNCERTAIN
from ..errors import AwsError
from ..model.cluster import ROUTE_ACTIVE, AddressView, Claim, InstanceView, RouteView
from ..model.plan import FenceStep
from .ec2_calls import Ec2Calls


class Evidence(t.Protocol):
    """The newest evidence about EC2, as ``observe.collector`` keeps it."""

    @property
    def instances(self) -> t.Mapping[str, InstanceView]:
        """Each node's instance, by the name of the node."""

    def note_route(self, claim: Claim, view: RouteView) -> None:
        """Take in a newer reading of a route."""

    def note_addresses(self, views: t.Mapping[str, AddressView]) -> None:
        """Take in a newer reading of Elastic IPs."""

    async def read_since(self, moment: float) -> None:
        """Read the instances by a call that begins after ``moment``, or give up after a while."""


class FenceLock(t.Protocol):
    """The lock in the witness table, as ``observe.witness_reader`` takes it."""

    async def carry_out(self, step: FenceStep) -> bool:
        """Take, renew or release the lock.

        False: another node was first. Raises ``NatFailoverError``.
        """


@dataclass(frozen=True)
class Tools:
    """Everything that a step may use."""

    calls: Ec2Calls
    evidence: Evidence
    lock: FenceLock
    now: t.Callable[[], float]  # monotonic seconds


class GivenUp(Exception):
    """The rest of an action is wanted no more, for the reason in the text.

    It is no failure: nothing backs off, and the next decision plans anew.
    """


class Answer:
    """The answer of AWS to one write, for the steps that wait for it."""

    def __init__(self) -> None:
        self._given = asyncio.Event()
        self._yes = False

    def give(self, yes: bool) -> None:
        """``yes``: AWS has applied the write. Else it failed, or its answer was lost."""
        self._yes = yes
        self._given.set()

    async def is_yes(self) -> bool:
        """The answer, once it is given."""
        await self._given.wait()
        return self._yes


class Step(t.Protocol):
    """One write.

    Both methods return "" when all is well, else the obstacle in words. Both raise ``AwsError``.
    """

    # A reading shows whether the write was applied, even if its answer was lost
    provable: t.ClassVar[bool]

    async def apply(self, tools: Tools) -> str:
        """Write. An obstacle means that nothing was written."""

    async def confirm(self, tools: Tools, since: float) -> str:
        """Judge evidence that is younger than ``since``."""


class Unconfirmed:
    """A step that leaves nothing to confirm: it writes nothing, or its answer is the proof."""

    provable: t.ClassVar[bool] = False

    async def confirm(self, tools: Tools, since: float) -> str:
        """Returns ""."""
        return ""


async def perform(steps: t.Sequence[Step], tools: Tools) -> str:
    """Apply the steps in order, then confirm them.

    Returns "" when AWS shows all of them, else the first obstacle.

    Raises the ``AwsError`` of a write that failed. A write whose answer was lost may have been
    applied, so the next reading decides. Its error is raised only if that reading fails too.
    """
    since = tools.now()
    for step in steps:
        try:
            obstacle = await step.apply(tools)
        except AwsError as error:
            if error.code not in UNCERTAIN or not step.provable:
                raise
            try:
                obstacle = await step.confirm(tools, tools.now())
            except AwsError:
                raise error from None
            since = tools.now()
        else:
            since = tools.now()
        if obstacle:
            return obstacle
    for step in steps:
        obstacle = await step.confirm(tools, since)
        if obstacle:
            return obstacle
    return ""


# --- routes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReplaceRoute:
    """Point the route of a claim to a network interface.

    CreateRoute where there is none, if the configuration allows.
    """

    provable: t.ClassVar[bool] = True
    claim: Claim
    interface_id: str
    answer: Answer | None = None  # told to the steps that wait for this write

    async def apply(self, tools: Tools) -> str:
        """Returns "": a route has no obstacle but an error."""
        yes = False
        try:
            await tools.calls.write_route(self.claim, self.interface_id)
            yes = True
        finally:
            if self.answer is not None:
                self.answer.give(yes)
        if self.answer is not None:
            await asyncio.sleep(0)  # the steps that waited begin before this route is read again
        return ""

    async def confirm(self, tools: Tools, since: float) -> str:
        """The obstacle names the target that EC2 shows."""
        view = await tools.calls.read_route(self.claim)
        tools.evidence.note_route(self.claim, view)
        if view.target == self.interface_id and view.state == ROUTE_ACTIVE:
            return ""
        if view.target is None:
            return f"route {self.claim} has no target ({view.state})"
        still = "targets" if view.target == self.interface_id else "still targets"
        return f"route {self.claim} {still} {view.target} ({view.state})"


# --- Elastic IPs ----------------------------------------------------------------------------------


async def _reread(tools: Tools, allocation: str) -> AddressView:
    """An Elastic IP by a reading of now, which the evidence takes in. Raises ``AwsError``."""
    views = await tools.calls.call(tools.calls.ec2.describe_addresses, (allocation,))
    tools.evidence.note_addresses(views)
    view: AddressView = views[allocation]
    return view


@dataclass(frozen=True)
class RequireHolder(Unconfirmed):
    """Read an Elastic IP again: it must still be where the plan takes it from (L8)."""

    allocation: str
    before: AddressView

    async def apply(self, tools: Tools) -> str:
        """Writes nothing, and returns "". Raises ``GivenUp`` if the Elastic IP has moved meanwhile."""
        view = await _reread(tools, self.allocation)
        if (view.interface_id, view.private) != (self.before.interface_id, self.before.private):
            raise GivenUp(f"{self.allocation} has moved to {view.interface_id} ({view.private}) meanwhile")
        return ""


@dataclass(frozen=True)
class AfterRoutes(Unconfirmed):
    """Wait for the answers to writes of routes that are under way."""

    answers: t.Mapping[Claim, Answer]

    async def apply(self, tools: Tools) -> str:
        """Writes nothing, and returns "". Raises ``GivenUp`` if AWS has not applied one of them."""
        for claim, answer in self.answers.items():
            if not await answer.is_yes():
                raise GivenUp(f"EC2 did not confirm the write of the route {claim}")
        return ""


@dataclass(frozen=True)
class AssociateAddress:
    """Associate an Elastic IP with a private address of a network interface."""

    provable: t.ClassVar[bool] = True
    allocation: str
    interface_id: str
    private: str

    async def apply(self, tools: Tools) -> str:
        """Returns ""."""
        ec2 = tools.calls.ec2
        await tools.calls.call(ec2.associate_address, self.allocation, self.interface_id, self.private)
        return ""

    async def confirm(self, tools: Tools, since: float) -> str:
        """The obstacle names the interface and the private address that EC2 shows."""
        view = await _reread(tools, self.allocation)
        if (view.interface_id, view.private) == (self.interface_id, self.private):
            return ""
        where = (
            f"is still at {view.interface_id} ({view.private})" if view.interface_id else "is associated with nothing"
        )
        return f"{self.allocation} {where}"
