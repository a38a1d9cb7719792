# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities in ``check-config --online``: the mistakes that only EC2 shows, and the permissions, by dry runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.aws import calls, permissions
from nat_failover.config import load as configuration
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import AddressView, InstanceView
from nat_failover.service import preflight_identities

from .test_egress_config import NODE_A, NODE_B, A, B, having

CONFIG = configuration.parse(having())
INSTANCES = {
    "nat-a": InstanceView("running", "eni-a", "10.0.0.10", {}, 0.0, instance_id=NODE_A["instance_id"]),
    "nat-b": InstanceView("running", "eni-b", "10.0.1.10", {}, 0.0, instance_id=NODE_B["instance_id"]),
}
FINE = {
    A: AddressView("203.0.113.10", "eni-a", "10.0.0.20", 0.0),
    B: AddressView("203.0.113.11", "eni-b", "10.0.1.20", 0.0),
}


class Ec2:
    """Knows these Elastic IPs, and refuses dry runs of some calls with a code."""

    create_routes = True

    def __init__(self, addresses=None, **refused):
        self.addresses, self.refused, self.tried = addresses, refused, []

    def describe_addresses(self, allocations):
        assert self.addresses is not None, "nothing is to be read"
        return {each: self.addresses[each] for each in allocations}

    def interface(self, instance_id):
        return {"NetworkInterfaceId": "eni-a"}

    def dry_run(self, call, resource, parameters):
        self.tried.append((call.operation, resource, parameters))
        code = self.refused.get(call.operation, "DryRunOperation")
        raise Ec2Error(call.permission, resource, code, "as AWS says it", retryable=False)


def problems(ec2, config=CONFIG, **views):
    instances = {name: replace(view, **views.get(name.replace("-", "_"), {})) for name, view in INSTANCES.items()}
    return preflight_identities.problems(config, ec2, instances)


def test_identities_that_can_move_have_no_problem():
    assert problems(Ec2(FINE)) == []
    assert problems(Ec2(FINE), nat_a={"addresses": ("10.0.0.10", "10.0.0.20", "10.0.0.21")}) == []


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"public": "", "interface_id": None, "private": None}, "EC2 shows no Elastic IP eipalloc-0bbb"),
        ({"interface_id": "eni-x"}, "is associated with eni-x, which is no node of this cluster"),
        ({"private": "10.0.1.10"}, "is the public address of nat-b itself"),
    ],
)
def test_an_elastic_ip_that_would_stay_is_named(changes, words):
    [line] = problems(Ec2({**FINE, B: replace(FINE[B], **changes)}))
    assert words in line


def test_each_private_address_that_ec2_has_not_assigned_is_named():
    lines = problems(Ec2(FINE), nat_a={"addresses": ("10.0.0.10",)})  # an interface with one address only
    assert ["10.0.0.20" in lines[0], "10.0.0.21" in lines[1]] == [True, True] and len(lines) == 2
    assert all("AssignPrivateIpAddresses" in line for line in lines)


def test_a_node_without_a_public_address_of_its_own_is_named():
    [line] = problems(Ec2(FINE), nat_a={"public_address": ""})
    assert line.startswith("nat-a has no public address of its own at 10.0.0.10")
    assert problems(Ec2(FINE), nat_a={"public_address": "203.0.113.1"}, nat_b={"public_address": ""}) == []


@pytest.mark.parametrize(
    "zone, group, wrong",
    [
        ("eu-west-1a", "eu-west-1", False),
        ("eu-west-1a", "", False),  # not known
        ("us-west-2-lax-1a", "us-west-2-lax-1", False),
        ("us-east-1-wl1-bos-wlz-1", "us-east-1-wl1-bos-wlz-1", False),
        ("us-west-2-lax-1a", "us-west-2", True),
        ("us-west-2a", "us-west-2-lax-1", True),
    ],
)
def test_an_elastic_ip_of_another_network_border_group_is_named(zone, group, wrong):
    lines = problems(Ec2({**FINE, B: replace(FINE[B], border_group=group)}), nat_a={"availability_zone": zone})
    assert [
        f"{B} (203.0.113.11) is of the network border group {group}, and nat-a in {zone}" in each for each in lines
    ] == ([True] if wrong else [])


def test_without_identities_nothing_is_read_and_nothing_tried():
    nodes = [{key: value for key, value in each.items() if "egress" not in key} for each in (NODE_A, NODE_B)]
    bare = configuration.parse({**having(), "nodes": nodes})
    assert problems(Ec2(), bare) == []
    ec2 = Ec2()
    assert permissions.missing(ec2, bare.nodes, bare.claims, "nat-a", "full", "stop_start") == []
    assert calls.ASSOCIATE_ADDRESS.operation not in {operation for operation, _resource, _given in ec2.tried}


def test_each_elastic_ip_that_this_node_may_carry_is_tried():
    ec2 = Ec2()
    assert permissions.missing(ec2, CONFIG.nodes, CONFIG.claims, "nat-a", "route", "none") == []
    tried = [(resource, given) for operation, resource, given in ec2.tried if operation == "AssociateAddress"]
    assert [(resource, given["NetworkInterfaceId"], given["PrivateIpAddress"]) for resource, given in tried] == [
        (f"elastic-ip {A}", "eni-a", "10.0.0.20"),
        (f"elastic-ip {B}", "eni-a", "10.0.0.21"),
    ]


def test_a_permission_that_is_missing_is_named():
    ec2 = Ec2(AssociateAddress="UnauthorizedOperation")
    lines = permissions.missing(ec2, CONFIG.nodes, CONFIG.claims, "nat-a", "full", "stop_start")
    assert [line.split(";")[0] for line in lines] == [
        f"missing permission ec2:AssociateAddress on elastic-ip {each}" for each in (A, B)
    ]
    assert permissions.missing(ec2, CONFIG.nodes, CONFIG.claims, "nat-a", "observe", "none") == []
