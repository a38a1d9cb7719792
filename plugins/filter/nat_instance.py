# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role nat_instance; each is documented in the file of its name beside this one."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..plugin_utils import arguments as typing_of
from ..plugin_utils.nat_instance import acceleration, cluster, egress, plan, units, words

Variables = t.Mapping[str, t.Any]
# The nodes of a cluster, as each of them must know them.
SHARED = ("cluster", "name", "instance_id", "address", "route_tables", "witness", "vpc_id", *cluster.EGRESS)


def nat_instance_cluster(
    hosts: t.Sequence[str],
    host: str,
    group: str,
    asked: Variables,
    instance_id: str,
    hostvars: t.Mapping[str, Variables],
    options: typing_of.Options,
) -> dict[str, t.Any]:
    """The nodes of the cluster of ``host``, or the reason for which there are none."""
    shared = {cluster.PREFIX + name: {**options[cluster.PREFIX + name], "default": None} for name in SHARED}
    own = {**{cluster.PREFIX + name: asked.get(name) for name in SHARED}, cluster.PREFIX + "instance_id": instance_id}
    members = []
    for each in sorted(hosts):
        variables = own if each == host else hostvars[each]
        try:
            given = typing_of.arguments({name: variables[name] for name in shared if name in variables}, shared)
        except typing_of.ArgumentError as error:
            return _refused(f"{error}, on the host {each}")
        found = variables[cluster.FOUND_ID] if cluster.FOUND_ID in variables else ""  # noqa: SIM401  # hostvars
        members.append(cluster.member(each, given, asked["cluster"], found))
    me = cluster.member(host, own, asked["cluster"])
    problem = cluster.problem(me, group, members, asked["known_by"])
    if problem:
        return _refused(problem)
    mine = cluster.of_cluster(me, members)
    return {
        "nodes": [cluster.node(each, asked["known_by"]) for each in mine],
        "hosts": [each.host for each in mine],
        "problem": "",
    }


def _refused(problem: str) -> dict[str, t.Any]:
    return {"nodes": [], "hosts": [], "problem": problem}


def nat_instance_plan(
    asked: Variables, hosts: t.Sequence[str] = (), network: str = "", **facts: t.Any
) -> dict[str, t.Any]:
    """The needs of a node, and the objection of the engine to them.

    ``network`` is the subnet of its interface, if known.
    """
    try:
        made = plan.plan(asked, **facts)
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(f"aws_ha.egress.nat_instance_plan: {error}") from error
    connection = facts["host"].get("ssh_connection") or {}
    refused = words.config_problem(made["config"], hosts)
    objections = (
        refused,
        "" if refused else egress.problem(made["config"], network),
        made.pop("contradiction"),
        made["web"]["problem"],
        made["hooks"]["problem"],
        made["cloudwatch"]["problem"],
        made["sync"]["problem"],
        plan.lockout(asked, connection),
        acceleration.problem(asked, facts["host"]),
    )
    needed = [] if refused else egress.addresses(made["config"])
    return {**made, "private_addresses": needed, "problem": next(filter(None, objections), "")}


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {
            "nat_instance_cluster": nat_instance_cluster,
            "nat_instance_plan": nat_instance_plan,
            "nat_instance_units_differing": units.differing,
            "nat_instance_key_problem": words.key_problem,
            "nat_instance_words": words.in_role_words,
        }
