# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a fence and of a node's own tags: writes to instances, and the fence lock."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..model.cluster import TAG_FENCE, InstanceView
from ..model.plan import FenceStep
from .steps import Tools, Unconfirmed

STOPPED = ("stopping", "stopped", "shutting-down", "terminated")
STARTED = ("pending", "running")

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
class ChangeLock(Unconfirmed):
    """Take, renew or release the fence lock by one conditional write to the witness table.

    After a lost answer its lease ends by itself.
    """

    wanted: FenceStep

    async def apply(self, tools: Tools) -> str:
        """The write is conditional: its answer says whether another node was first."""
        return "" if await tools.lock.carry_out(self.wanted) else "another node was first"
