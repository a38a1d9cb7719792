# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instance is which node, by what EC2 shows: instances come and go, a node's name stays. Pure.

The rule, first match wins: the instance that the configuration names, the one in use, the oldest that runs, the oldest that does not. Who is
shutting down or terminated is nobody's instance any more. All nodes read the same tags, so they agree.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .model import TAG_CLUSTER, TAG_NODE, InstanceView, Node

UP = ("pending", "running")
ENDED = ("shutting-down", "terminated")


@dataclass(frozen=True)
class Roster:
    """What is remembered between readings. A stale reading brings nobody back who was seen to end."""

    current: t.Mapping[str, str] = field(default_factory=dict)  # node -> the instance in use
    ended: t.FrozenSet[str] = frozenset()


def choose(
    nodes: t.Sequence[Node], cluster: str, found: t.Mapping[str, InstanceView], roster: Roster, read_at: float
) -> t.Tuple[t.Dict[str, InstanceView], Roster]:
    """Each node's instance out of those that EC2 showed (by id). A node without one is ``terminated`` and has no instance id."""
    ended = roster.ended | {each for each, view in found.items() if view.state in ENDED}
    roster = replace(roster, ended=ended)
    named = {node.instance_id: node.name for node in nodes if node.instance_id}
    chosen = {}
    for node in nodes:
        candidates = [
            view
            for each, view in found.items()
            if named.get(each, node.name) == node.name and (each in named or _tagged(view, cluster, node.name))
        ]
        chosen[node.name] = _pick(node, candidates, roster) or InstanceView("terminated", None, None, {}, read_at)
    current = {name: view.instance_id for name, view in chosen.items() if view.instance_id}
    return chosen, replace(roster, current={**roster.current, **current})


def _tagged(view: InstanceView, cluster: str, name: str) -> bool:
    return (view.tags.get(TAG_CLUSTER), view.tags.get(TAG_NODE)) == (cluster, name)


def _pick(node: Node, candidates: t.Sequence[InstanceView], roster: Roster) -> t.Optional[InstanceView]:
    def preference(view: InstanceView) -> t.Tuple[bool, bool, bool, bool, str, str]:
        return (
            view.instance_id in roster.ended,
            view.instance_id != node.instance_id,
            view.state not in UP,
            view.instance_id != roster.current.get(node.name),
            view.created,
            view.instance_id,
        )

    ranked = sorted(candidates, key=preference)
    if not ranked:
        return None
    rivals = tuple(v.instance_id for v in ranked[1:] if v.state in UP and v.instance_id not in roster.ended)
    return replace(ranked[0], rivals=rivals)


def rivals(instances: t.Mapping[str, InstanceView]) -> t.Dict[str, str]:
    """Instances that run under the name of another one, by node: to be reported."""
    return {
        "%s of %s" % (TAG_NODE, name): "%s is %s, and %s runs with the same tags; terminate it, or correct its tag %s"
        % (name, view.instance_id, ", ".join(view.rivals), TAG_NODE)
        for name, view in sorted(instances.items())
        if view.rivals
    }
