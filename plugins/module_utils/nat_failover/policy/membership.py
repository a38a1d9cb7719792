# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance of each node and the home of each route table, by what EC2 shows. Pure.

Instances and tables come and go, a node's name stays. The rule for instances, first match wins: the
instance that the configuration names, the one in use, the oldest that runs, the oldest that does
not. An instance that is shutting down or terminated belongs to no node. All nodes read the same
tags, so they agree.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..model.cluster import EC2_TERMINATED, ENDED, TAG_CLUSTER, TAG_HOME, TAG_NODE, UP, Claim, InstanceView, Node
from ..model.evidence import Evidence
from ..model.settings import Config


@dataclass(frozen=True)
class Roster:
    """The memory between readings.

    A stale reading does not bring back an instance that was seen to end.
    """

    current: t.Mapping[str, str] = field(default_factory=dict)  # node -> the instance in use
    ended: frozenset[str] = frozenset()


def choose(
    nodes: t.Sequence[Node], cluster: str, found: t.Mapping[str, InstanceView], roster: Roster, read_at: float
) -> tuple[dict[str, InstanceView], Roster]:
    """(node -> its instance out of ``found``, the next roster). ``found``: instance id -> view.

    A node without an instance is ``terminated`` and has no instance id.
    """
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
        chosen[node.name] = _pick(node, candidates, roster) or InstanceView(EC2_TERMINATED, None, None, {}, read_at)
    current = {name: view.instance_id for name, view in chosen.items() if view.instance_id}
    return chosen, replace(roster, current={**roster.current, **current})


def _tagged(view: InstanceView, cluster: str, name: str) -> bool:
    return (view.tags.get(TAG_CLUSTER), view.tags.get(TAG_NODE)) == (cluster, name)


def _pick(node: Node, candidates: t.Sequence[InstanceView], roster: Roster) -> InstanceView | None:
    def preference(view: InstanceView) -> tuple[bool, bool, bool, bool, str, str]:
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


def claims(config: Config, homes: t.Mapping[str, str]) -> tuple[Claim, ...]:
    """The claims of the configuration, then those on tables that a tag gives to a node.

    ``homes``: route table -> node, by its tag.
    """
    configured = {table for node in config.nodes for table in node.route_tables}
    owners = _homes(config)
    tagged = (
        Claim(table, destination, homes[table])
        for table in sorted(homes)
        if table not in configured and homes[table] in owners
        for destination in config.destinations
    )
    return (*config.claims, *tagged)


def _homes(config: Config) -> set[str]:
    return {node.name for node in config.nodes if not node.witness}


def misplaced(config: Config, homes: t.Mapping[str, str]) -> dict[str, str]:
    """Tags on route tables that contradict the configuration: tag and table -> line.

    The configuration counts.
    """
    configured = {table: node.name for node in config.nodes for table in node.route_tables}
    owners = _homes(config)
    found = {}
    for table, name in sorted(homes.items()):
        if configured.get(table, name) != name:
            found[f"{TAG_HOME} of {table}"] = (
                f"route table {table} has two homes: {configured[table]} by the configuration, which counts, "
                f"and {name} by its tag {TAG_HOME}; correct one of them"
            )
        elif name not in owners:
            found[f"{TAG_HOME} of {table}"] = (
                "the tag {}={} of route table {} names no node that may own it; write one of: {}".format(
                    TAG_HOME, name, table, ", ".join(sorted(owners))
                )
            )
    return found


def drift(config: Config, evidence: Evidence) -> dict[str, str]:
    """Contradictory tags of instances and route tables, and missing homes: key -> line."""
    found = rivals(evidence.instances)
    if evidence.homes is None:
        return found
    found.update(misplaced(config, evidence.homes))
    if not claims(config, evidence.homes):
        found[TAG_HOME] = no_home(config)
    return found


def no_home(config: Config) -> str:
    """The line for a cluster that has no claims at all."""
    return (
        "no node is the home of any route table: name them in the configuration, or tag them with "
        f"{TAG_CLUSTER}={config.cluster} and {TAG_HOME}=<node>"
    )


def rivals(instances: t.Mapping[str, InstanceView]) -> dict[str, str]:
    """Instances that run under the name of another one: tag and node -> line for the operator."""
    if not any(view.rivals for view in instances.values()):
        return {}
    return {
        f"{TAG_NODE} of {name}": "{} is {}, and {} runs with the same tags; terminate it, or correct its tag {}".format(
            name, view.instance_id, ", ".join(view.rivals), TAG_NODE
        )
        for name, view in sorted(instances.items())
        if view.rivals
    }
