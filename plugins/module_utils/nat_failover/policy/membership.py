# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instance is which node, and which route table has which home, by what EC2 shows: both come and go, a node's name stays. Pure.

The rule for instances, first match wins: the instance that the configuration names, the one in use, the oldest that runs, the oldest that does not. Who is
shutting down or terminated is nobody's instance any more. All nodes read the same tags, so they agree.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..model.cluster import TAG_CLUSTER, TAG_HOME, TAG_NODE, Claim, Evidence, InstanceView, Node
from ..model.settings import Config

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


def claims(config: Config, homes: t.Mapping[str, str]) -> t.Tuple[Claim, ...]:
    """The claims of the configuration, then those on tables that a tag gives to a node. ``homes``: route table -> node, by its tag."""
    configured = {table for node in config.nodes for table in node.route_tables}
    owners = _homes(config)
    tagged = (
        Claim(table, destination, homes[table])
        for table in sorted(homes)
        if table not in configured and homes[table] in owners
        for destination in config.destinations
    )
    return (*config.claims, *tagged)


def _homes(config: Config) -> t.Set[str]:
    return {node.name for node in config.nodes if not node.witness}


def misplaced(config: Config, homes: t.Mapping[str, str]) -> t.Dict[str, str]:
    """Tags on route tables that contradict the configuration, by table: to be reported. The configuration counts."""
    configured = {table: node.name for node in config.nodes for table in node.route_tables}
    owners = _homes(config)
    found = {}
    for table, name in sorted(homes.items()):
        if configured.get(table, name) != name:
            found["%s of %s" % (TAG_HOME, table)] = (
                "route table %s has two homes: %s by the configuration, which counts, and %s by its tag %s; correct one of them"
                % (table, configured[table], name, TAG_HOME)
            )
        elif name not in owners:
            found["%s of %s" % (TAG_HOME, table)] = (
                "the tag %s=%s of route table %s names no node that may own it; write one of: %s"
                % (TAG_HOME, name, table, ", ".join(sorted(owners)))
            )
    return found


def drift(config: Config, evidence: Evidence) -> t.Dict[str, str]:
    """What is contradictory in the tags of instances and route tables, or missing altogether."""
    found = rivals(evidence.instances)
    if evidence.homes is None:
        return found
    found.update(misplaced(config, evidence.homes))
    if not claims(config, evidence.homes):
        found[TAG_HOME] = no_home(config)
    return found


def no_home(config: Config) -> str:
    """What to say when there is nothing to look after at all."""
    return (
        "no node is the home of any route table: name them in the configuration, or tag them with %s=%s and %s=<node>"
        % (TAG_CLUSTER, config.cluster, TAG_HOME)
    )


def rivals(instances: t.Mapping[str, InstanceView]) -> t.Dict[str, str]:
    """Instances that run under the name of another one, by node: to be reported."""
    if not any(view.rivals for view in instances.values()):
        return {}
    return {
        "%s of %s" % (TAG_NODE, name): "%s is %s, and %s runs with the same tags; terminate it, or correct its tag %s"
        % (name, view.instance_id, ", ".join(view.rivals), TAG_NODE)
        for name, view in sorted(instances.items())
        if view.rivals
    }
