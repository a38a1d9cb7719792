# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that plans are made of.

Each is applied by one write to AWS and confirmed by what AWS shows afterwards.

A further write to AWS is a class here, its call with its permission in ``aws``, and its place in
``actions``. ``perform`` is the only place that writes and then reads again (law L9).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..aws.ec2 import UNCERTAIN
from ..errors import AwsError
from ..model.cluster import ROUTE_ACTIVE, TAG_FENCE, AddressView, Claim, InstanceView, RouteView
from ..model.plan import FenceStep
from .ec2_calls import Ec2Calls

STOPPED = ("stopping", "stopped", "shutting-down", "terminated")
STARTED = ("pending", "running")


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

    async def apply(self, tools: Tools) -> str:
        """Returns "": a route has no obstacle but an error."""
        await tools.calls.write_route(self.claim, self.interface_id)
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
        views = await tools.calls.call(tools.calls.ec2.describe_addresses, (self.allocation,))
        tools.evidence.note_addresses(views)
        view = views[self.allocation]
        if (view.interface_id, view.private) == (self.interface_id, self.private):
            return ""
        where = (
            f"is still at {view.interface_id} ({view.private})" if view.interface_id else "is associated with nothing"
        )
        return f"{self.allocation} {where}"


# --- instances ------------------------------------------------------------------------------------


async def _reread(tools: Tools, node: str, instance_id: str, since: float) -> InstanceView | None:
    """The instance by a reading younger than ``since``.

    None: EC2 was not read, or the node is another instance now.
    """
    view = tools.evidence.instances.get(node)
    if view is None or view.read_at < since:
        await tools.evidence.read_since(since)
        view = tools.evidence.instances.get(node)
    return view if view is not None and view.read_at >= since and view.instance_id == instance_id else None


@dataclass(frozen=True)
class _OnInstance:
    """A write to a node's instance."""

    provable: t.ClassVar[bool] = True
    node: str
    instance_id: str

    async def confirm(self, tools: Tools, since: float) -> str:
        """Without a newer reading of this instance there is no proof."""
        view = await _reread(tools, self.node, self.instance_id, since)
        if view is not None:
            return self.missing(view)
        now = tools.evidence.instances.get(self.node)
        if now is not None and now.read_at >= since:
            return f"{self.node} is not {self.instance_id} any more"
        return f"EC2 did not show {self.instance_id} after the write"

    def missing(self, view: InstanceView) -> str:
        """The difference between the wanted state and a reading of the instance. Empty: none."""
        raise NotImplementedError


@dataclass(frozen=True)
class RequireUnfenced(_OnInstance):
    """The peer runs and nobody fences it, by a reading of its own.

    EC2 has no compare-and-swap (laws L3, L6). ``ignores``: a mark that the decision found void.
    """

    ignores: str = ""

    async def apply(self, tools: Tools) -> str:
        """The obstacle names the fence, or the state of the instance."""
        view = await _reread(tools, self.node, self.instance_id, tools.now())
        if view is None:
            return f"{self.node} is not marked: EC2 was not read, or shows another instance than {self.instance_id}"
        if view.state == "running" and view.tags.get(TAG_FENCE, self.ignores) == self.ignores:
            return ""
        return f"{self.node} is not marked: " + (view.tags.get(TAG_FENCE) or f"EC2 shows {view.state}")

    async def confirm(self, tools: Tools, since: float) -> str:
        """Nothing was written."""
        return ""


@dataclass(frozen=True)
class CreateTags(_OnInstance):
    """Write a tag, or overwrite it."""

    key: str
    value: str

    async def apply(self, tools: Tools) -> str:
        """Returns ""."""
        await tools.calls.call(tools.calls.ec2.set_tag, self.instance_id, self.key, self.value)
        return ""

    def missing(self, view: InstanceView) -> str:
        """The tag has another value."""
        found = view.tags.get(self.key)
        return "" if found == self.value else f"tag {self.key} of {self.instance_id} is {found!r}, not {self.value!r}"


@dataclass(frozen=True)
class DeleteTags(_OnInstance):
    """Remove a tag. One that is not there is fine."""

    key: str

    async def apply(self, tools: Tools) -> str:
        """Returns ""."""
        await tools.calls.call(tools.calls.ec2.delete_tag, self.instance_id, self.key)
        return ""

    def missing(self, view: InstanceView) -> str:
        """The tag is still there."""
        return f"{self.instance_id} still has the tag {self.key}" if self.key in view.tags else ""


@dataclass(frozen=True)
class StopInstances(_OnInstance):
    """Stop an instance. ``force``: without a clean shutdown of the guest."""

    force: bool = False

    async def apply(self, tools: Tools) -> str:
        """Returns ""."""
        await tools.calls.call(tools.calls.ec2.stop, self.instance_id, self.force)
        return ""

    def missing(self, view: InstanceView) -> str:
        """The instance does not stop."""
        return "" if view.state in STOPPED else f"{self.instance_id} is still {view.state}"


@dataclass(frozen=True)
class StartInstances(_OnInstance):
    """Start an instance."""

    async def apply(self, tools: Tools) -> str:
        """Returns ""."""
        await tools.calls.call(tools.calls.ec2.start, self.instance_id)
        return ""

    def missing(self, view: InstanceView) -> str:
        """The instance does not start."""
        return "" if view.state in STARTED else f"{self.instance_id} is still {view.state}"


@dataclass(frozen=True)
class RebootInstances(_OnInstance):
    """Reboot an instance.

    EC2 shows ``running`` before, meanwhile and afterwards, so a lost answer is a failure.
    """

    provable: t.ClassVar[bool] = False

    async def apply(self, tools: Tools) -> str:
        """Returns ""."""
        await tools.calls.call(tools.calls.ec2.reboot, self.instance_id)
        return ""

    def missing(self, view: InstanceView) -> str:
        """A reboot leaves no trace in EC2."""
        return ""


# --- the fence lock -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChangeLock:
    """Take, renew or release the fence lock by one conditional write to the witness table."""

    provable: t.ClassVar[bool] = False  # its lease ends by itself
    wanted: FenceStep

    async def apply(self, tools: Tools) -> str:
        """The write is conditional: its answer says whether another node was first."""
        return "" if await tools.lock.carry_out(self.wanted) else "another node was first"

    async def confirm(self, tools: Tools, since: float) -> str:
        """The answer of a conditional write is the proof."""
        return ""
