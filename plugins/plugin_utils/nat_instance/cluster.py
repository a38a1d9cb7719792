# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a cluster, out of an inventory.

Pure: no Ansible; what the hosts say comes as mappings.
"""

from __future__ import annotations

import difflib
import typing as t

Variables = t.Mapping[str, t.Any]
PREFIX = "nat_instance_"
# The id that EC2 gave a host of this run, when its inventory does not name one.
FOUND_ID = "__nat_instance_id"


class Member(t.NamedTuple):
    """A host of the inventory group.

    ``route_tables`` is None for a host whose variable is not set.
    """

    host: str
    cluster: str
    name: str
    instance_id: str
    address: str
    route_tables: t.Sequence[str] | None
    witness: bool
    vpc_id: str = ""
    egress: t.Mapping[str, t.Any] = {}  # the keys ``EGRESS`` that are set


# The variables of the identity of a node, which are keys of the configuration file by the same
# names.
EGRESS = ("egress_address", "egress_private_address", "egress_networks", "egress_waiting")


def member(host: str, variables: Variables, cluster: str, found_id: str = "") -> Member:
    """The member that the variables of a host describe.

    A host without a cluster is in ``cluster``, the one of its play.
    """

    def given(name: str, default: t.Any = "") -> t.Any:
        value = variables.get(PREFIX + name)
        return default if value is None or value == "" else value

    return Member(
        host=host,
        cluster=given("cluster", cluster),
        name=given("name", host),
        instance_id=given("instance_id", found_id),
        address=given("address"),
        route_tables=variables.get(PREFIX + "route_tables"),
        witness=bool(given("witness", False)),
        vpc_id=given("vpc_id"),
        egress={key: given(key) for key in EGRESS if given(key)},
    )


def problem(me: Member, group: str, hosts: t.Sequence[Member], known_by: str) -> str:
    """The first reason, in one line, why the inventory does not define the cluster of ``me``;
    empty: none.
    """
    if me.host not in [each.host for each in hosts]:
        return (
            f"{me.host} is not in the inventory group {group}; put the nodes of the cluster into it, or name their group in"
            " nat_instance_group"
        )
    mine = of_cluster(me, hosts)
    return (
        _lacking(me, mine, known_by)
        or _shared(me, mine, hosts)
        or _scattered(me, group, mine)
        or _alone(me, group, mine, hosts)
    )


def of_cluster(me: Member, hosts: t.Sequence[Member]) -> list[Member]:
    """The members of the cluster of ``me``, by the names of their hosts."""
    return sorted((each for each in hosts if each.cluster == me.cluster), key=lambda each: each.host)


def node(each: Member, known_by: str) -> dict[str, t.Any]:
    """A member as the configuration file has it."""
    made: dict[str, t.Any] = {"name": each.name}
    if known_by == "id":
        made["instance_id"] = each.instance_id
    made["route_tables"] = list(each.route_tables or ())
    if each.address:
        made["address"] = each.address
    if each.witness:
        made["witness"] = True
    return {**made, **each.egress}


def _lacking(me: Member, mine: t.Sequence[Member], known_by: str) -> str:
    """A configuration that forgets a peer is never written."""
    lacking = []
    for each in mine:
        if each.host != me.host:
            lacking += [f"nat_instance_route_tables of {each.host}"] * (each.route_tables is None)
            lacking += [f"nat_instance_instance_id of {each.host}"] * (known_by == "id" and not each.instance_id)
    if not lacking:
        return ""
    return (
        "not known: {}. A host outside of this run (--limit, serial, unreachable) is known by its inventory variables"
        " only: set them there, or run without --limit".format(", ".join(lacking))
    )


def _shared(me: Member, mine: t.Sequence[Member], hosts: t.Sequence[Member]) -> str:
    """The first value that two hosts share wrongly: an instance in the whole group, all else in the
    cluster.
    """
    for variable, each, others, remedy in (
        ("instance_id", me.instance_id, hosts, "each host is an instance of its own; correct the inventory"),
        ("name", me.name, mine, "give each node a name of its own"),
        ("address", me.address, mine, "each node has an address of its own"),
    ):
        same = [other.host for other in others if each and getattr(other, variable) == each]
        if len(same) > 1:
            return "nat_instance_{} of {} is the same (got {!r}); {}".format(
                variable, " and ".join(same), str(each), remedy
            )
    for other in mine:
        both = sorted(set(me.route_tables or ()) & set(other.route_tables or ())) if other.host != me.host else ()
        for table in both:
            return (
                f"nat_instance_route_tables of {me.host} and {other.host} both name {table}; leave it with one node, the other one takes it"
                " over when needed"
            )
    return ""


def _scattered(me: Member, group: str, mine: t.Sequence[Member]) -> str:
    """A stranger that entered the inventory, by a tag for example, would become a peer and an heir."""
    placed = [each for each in mine if each.vpc_id]
    if len({each.vpc_id for each in placed}) < 2:
        return ""
    return (
        "the cluster {} lies in one VPC, and the inventory names several: {}; remove from the group {} what does not"
        " belong to it, or correct nat_instance_vpc_id".format(
            me.cluster, ", ".join(f"{each.host} in {each.vpc_id}" for each in placed), group
        )
    )


def _alone(me: Member, group: str, mine: t.Sequence[Member], hosts: t.Sequence[Member]) -> str:
    nat = [each.host for each in mine if not each.witness]
    if len(nat) > 1:
        return ""
    others = sorted({each.cluster for each in hosts} - {me.cluster})
    near = difflib.get_close_matches(me.cluster, others, n=1)
    there = f"the group {group} holds no host of another cluster"
    if others:
        of = near or others
        named = [f"{each.host} ({str(each.cluster)!r})" for each in hosts if each.cluster in of]
        there = "the group {} also holds {}; is nat_instance_cluster right everywhere?".format(group, ", ".join(named))
    return "the cluster {!r} has {}, and needs two NAT nodes at least; add the node of another availability zone; {}".format(
        str(me.cluster),
        f"one NAT node only, {nat[0]}" if nat else "no NAT node",
        there,
    )
