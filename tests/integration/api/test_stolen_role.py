# SPDX-License-Identifier: GPL-3.0-or-later
"""The uses of a stolen role of a node: the table of docs/iam.md, line by line, as dry runs.

The lab's IAM is a model. Its condition keys and their AWS sources: lab/api/conditions.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab import vpc
from lab.egress import EgressIds
from lab.running_api import RunningApi, running_api
from lab.tags import CLUSTER, CLUSTER_TAG
from tests.integration import generated_policy

ALLOWED, REFUSED = "DryRunOperation", "UnauthorizedOperation"
Call = tuple[str, dict[str, Any]]


class Loot:
    """The reference VPC with the generated policy, a stranger in it, and nat-a's credentials in foreign hands."""

    def __init__(self, api: RunningApi) -> None:
        self.api = api
        me, peer = api.ids.zones["a"], api.ids.zones["b"]
        started = api.client().run_instances(
            ImageId=vpc.IMAGE, MinCount=1, MaxCount=1, SubnetId=me.private_subnet, InstanceType="t3.nano"
        )["Instances"][0]
        stranger = started["InstanceId"]
        # The stranger carries the cluster's tag: with exact ids that must not help.
        api.client().create_tags(Resources=[stranger], Tags=[{"Key": CLUSTER_TAG, "Value": CLUSTER}])
        self.names = {
            "me": me.instance_id,
            "peer": peer.instance_id,
            "my_eni": me.interface_id,
            "peer_eni": peer.interface_id,
            "peer_table": peer.route_table,
            "public_table": api.ids.public_route_table,
            "stranger": stranger,
            "stranger_eni": started["NetworkInterfaces"][0]["NetworkInterfaceId"],
            "group": api.ids.security_group,
        }
        self.thief = api.client(node="nat-a")

    def give(self, **options: Any) -> None:
        """The generated policy with these options."""
        with self.api.api.lock:
            generated_policy.attach(self.api.ids, generated_policy.document(self.api.ids, **options))

    def answer(self, call: Call) -> str:
        """The error code of a dry run."""
        action, parameters = call
        with pytest.raises(ClientError) as caught:
            getattr(self.thief, action)(**_filled(parameters, self.names), DryRun=True)
        return str(caught.value.response["Error"]["Code"])


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def loot() -> Iterator[Loot]:
    with running_api(enforce_iam=True) as running:
        yield Loot(running)


def tag(on: str, key: str) -> Call:
    return "create_tags", {"Resources": [on], "Tags": [{"Key": "nat-failover:" + key, "Value": "mallory:stop"}]}


def untag(on: str, *keys: str) -> Call:
    tags = {"Tags": [{"Key": "nat-failover:" + key} for key in keys]} if keys else {}
    return "delete_tags", {"Resources": [on], **tags}


def route(action: str, table: str, destination: str, interface: str) -> Call:
    return action, {"RouteTableId": table, "DestinationCidrBlock": destination, "NetworkInterfaceId": interface}


def interface(of: str, **attribute: Any) -> Call:
    return "modify_network_interface_attribute", {"NetworkInterfaceId": of, **attribute}


CHECK_ON, CHECK_OFF = {"SourceDestCheck": {"Value": True}}, {"SourceDestCheck": {"Value": False}}
INSIDE = "10.0.10.0/24"

NEVER: dict[str, Call] = {
    "tag itself into a cluster": tag("me", "cluster"),
    "tag a stranger into the cluster": tag("stranger", "cluster"),
    "give a node another name": tag("peer", "node"),
    "show a flare for the peer": tag("peer", "flare"),
    "drain the peer": tag("peer", "drained"),
    "resume the peer": untag("peer", "drained"),
    "delete all tags": untag("peer"),
    "delete all its own tags": untag("me"),
    "mark a stranger": tag("stranger", "fence"),
    "end an instance": ("terminate_instances", {"InstanceIds": ["peer"]}),
    "stop a stranger": ("stop_instances", {"InstanceIds": ["stranger"]}),
    "write a table of others": route("replace_route", "public_table", vpc.DEFAULT_ROUTE, "my_eni"),
    "make a route in a table of others": route("create_route", "public_table", INSIDE, "my_eni"),
    "switch the peer's check on": interface("peer_eni", **CHECK_ON),
    "change the peer's security groups": interface("peer_eni", Groups=["group"]),
    "change the peer's description": interface("peer_eni", Description={"Value": "x"}),
    "switch the check of a stranger off": interface("stranger_eni", **CHECK_OFF),
    "change an instance": ("modify_instance_attribute", {"InstanceId": "peer", "SourceDestCheck": {"Value": False}}),
    "delete a route": ("delete_route", {"RouteTableId": "peer_table", "DestinationCidrBlock": vpc.DEFAULT_ROUTE}),
}
# No condition key of EC2 can tell these from the work of a node: docs/iam.md says so, and how to notice them.
STILL: dict[str, Call] = {
    "show its own flare": tag("me", "flare"),
    "pause the cluster by a tag on the peer": tag("peer", "pause"),
    "mark the peer as fenced": tag("peer", "fence"),
    "stop the peer": ("stop_instances", {"InstanceIds": ["peer"]}),
    "stop the peer by force": ("stop_instances", {"InstanceIds": ["peer"], "Force": True}),
    "take the peer's route": route("replace_route", "peer_table", vpc.DEFAULT_ROUTE, "my_eni"),
    "lead the peer's route to a stranger": route("replace_route", "peer_table", vpc.DEFAULT_ROUTE, "stranger_eni"),
    "lead a part of the internet to itself": route("create_route", "peer_table", "203.0.113.0/24", "my_eni"),
    "lead a subnet of the VPC to itself": route("create_route", "peer_table", INSIDE, "my_eni"),
    "switch the peer's check off": interface("peer_eni", **CHECK_OFF),
}
ROUTES_MADE = [name for name, call in STILL.items() if call[0] == "create_route"]
ROUTES = [name for name, call in STILL.items() if call[0].endswith("_route")]
FENCES = ["mark the peer as fenced", "stop the peer", "stop the peer by force"]


@pytest.mark.parametrize("deed", list(NEVER))
def test_a_stolen_role_cannot(loot: Loot, deed: str) -> None:
    loot.give()
    assert loot.answer(NEVER[deed]) == REFUSED


@pytest.mark.parametrize("deed", list(STILL))
def test_a_stolen_role_still_can(loot: Loot, deed: str) -> None:
    loot.give()
    assert loot.answer(STILL[deed]) == ALLOWED


@pytest.mark.parametrize(
    ("options", "ended"),
    [
        ({"create_route": False}, ROUTES_MADE),
        ({"mode": "route"}, FENCES),
        ({"fence": "none"}, FENCES),
        ({"mode": "observe"}, FENCES + ROUTES),
        ({"source_dest_check": False}, ["switch the peer's check off"]),
        ({"source_ips": ["203.0.113.10", "203.0.113.11"]}, list(STILL)),
    ],
)
def test_each_option_ends_what_it_is_for_and_nothing_else(
    loot: Loot, options: dict[str, Any], ended: list[str]
) -> None:
    loot.give(**options)
    assert {deed for deed, call in STILL.items() if loot.answer(call) == REFUSED} == set(ended)


def test_credentials_work_from_the_addresses_that_they_are_bound_to(loot: Loot) -> None:
    loot.give(source_ips=["127.0.0.0/8"])
    assert {loot.answer(call) for call in STILL.values()} == {ALLOWED}


def test_by_tag_a_node_can_speak_for_its_peers(loot: Loot) -> None:
    """The scope for nodes that are replaced: no key of EC2 says "on itself" then, and all that carries the tag is in reach."""
    loot.give(scope="tag")
    reachable = {"show a flare for the peer", "drain the peer", "resume the peer", "mark a stranger", "stop a stranger"}
    assert {deed for deed, call in NEVER.items() if loot.answer(call) == ALLOWED} == reachable


def test_many_tables_are_as_exact_as_few(loot: Loot) -> None:
    loot.give(tables=[f"rtb-{number:017x}" for number in range(150)])
    refused = [deed for deed, call in NEVER.items() if loot.answer(call) == REFUSED]
    allowed = [deed for deed, call in STILL.items() if loot.answer(call) == ALLOWED]
    assert (refused, allowed) == (list(NEVER), list(STILL))


# --- Elastic IPs of identities -----------------------------------------------------------------------------------------


def elastic(loot: Loot) -> None:
    """An Elastic IP of an identity and one of a stranger, and the policy for the first one."""
    for name in ("elastic", "foreign"):
        if name not in loot.names:
            loot.names[name] = loot.api.client().allocate_address(Domain="vpc")["AllocationId"]
    held = loot.api.client().describe_addresses(AllocationIds=[loot.api.ids.zones["b"].allocation_id])["Addresses"]
    loot.names["association"] = held[0]["AssociationId"]
    loot.give(identities=of_a(loot))


def of_a(loot: Loot) -> dict[str, EgressIds]:
    """The Elastic IP as the identity of nat-a."""
    return {"a": EgressIds(loot.names["elastic"], "", "", {})}


def associate(address: str, interface_id: str) -> Call:
    return "associate_address", {"AllocationId": address, "NetworkInterfaceId": interface_id}


@pytest.mark.parametrize("of", ["my_eni", "peer_eni"])
def test_with_identities_it_can_put_their_elastic_ips_on_any_address_of_a_node(loot: Loot, of: str) -> None:
    elastic(loot)
    assert loot.answer(associate("elastic", of)) == ALLOWED
    loot.give()
    assert loot.answer(associate("elastic", of)) == REFUSED
    loot.give(identities=of_a(loot), mode="observe")
    assert loot.answer(associate("elastic", of)) == REFUSED


@pytest.mark.parametrize(
    "call",
    [
        associate("elastic", "stranger_eni"),
        associate("foreign", "my_eni"),
        ("disassociate_address", {"AssociationId": "association"}),
        ("release_address", {"AllocationId": "elastic"}),
        ("allocate_address", {"Domain": "vpc"}),
    ],
)
def test_with_identities_it_touches_no_other_elastic_ip(loot: Loot, call: Call) -> None:
    elastic(loot)
    assert loot.answer(call) == REFUSED


def test_with_identities_it_cannot_give_itself_a_private_address(loot: Loot) -> None:
    """AssignPrivateIpAddresses has no dry run."""
    elastic(loot)
    with pytest.raises(ClientError, match=REFUSED):
        loot.thief.assign_private_ip_addresses(
            NetworkInterfaceId=loot.names["my_eni"], SecondaryPrivateIpAddressCount=1
        )
