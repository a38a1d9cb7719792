# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS at the level of boto3's calls, as the engine's adapters make them. The truth is in the models: ``Cloud`` and ``Table``.

Shapes: Amazon EC2 API Reference (DescribeRouteTables, DescribeInstances, ReplaceRoute, CreateRoute, CreateTags, DeleteTags,
StopInstances, StartInstances, RebootInstances); Amazon DynamoDB API Reference (Query, PutItem, DeleteItem).
"""

from __future__ import annotations

import typing as t

from nat_failover.aws.calls import Call
from nat_failover.model.cluster import ROUTE_BLACKHOLE, TAG_CLUSTER, TAG_FLARE, TAG_HOME, TAG_NODE, Claim

from ..api import Api
from ..cloud import Cloud, State, interface, owner_of
from ..table import Table
from .runtime import block

if t.TYPE_CHECKING:
    from .process import Process

Answer = dict[str, t.Any]
CLUSTER = "sim"


class Refused(Exception):
    """AWS refuses a call with this code."""


class FakeConnection:
    """In the place of ``aws.client.Connection``: ``call`` blocks for as long as the model's call takes."""

    url = "https://aws.simulated"

    def __init__(self, process: Process, api: Api) -> None:
        self._process, self._api = process, api

    def call(self, call: Call, fail: t.Callable[[str, str], Exception], **parameters: t.Any) -> Answer:
        action, process, api = call.operation, self._process, self._api

        def apply() -> tuple[Answer | None, str]:
            try:
                return self._apply(action, parameters), ""
            except Refused as refused:
                return None, str(refused)

        def start(resume: t.Callable[[t.Any], None]) -> None:
            api.call(
                process.name,
                self._label(action, parameters),
                process.host.reaches_ec2,
                apply,
                lambda found: process.gate(lambda: resume(found)),
                lambda code: process.gate(lambda: resume((None, code))),
                self._subject(action, parameters),
            )

        answer, code = block(start)
        if code:
            raise fail(code, "simulated")
        return t.cast(Answer, answer)

    def _label(self, action: str, parameters: Answer) -> str:
        """The name of this action in a fault of the incident."""
        return action

    def _subject(self, action: str, parameters: Answer) -> str:
        """The object of the action: a route table, a node, or nothing that a fault knows."""
        return ""

    def _apply(self, action: str, parameters: Answer) -> Answer:
        raise NotImplementedError


class Ec2Connection(FakeConnection):
    """One node's view of the cloud."""

    def __init__(self, process: Process, cloud: Cloud) -> None:
        super().__init__(process, cloud)
        self._cloud = cloud

    def _label(self, action: str, parameters: Answer) -> str:
        if action.startswith("Describe"):
            return action if action == "DescribeAddresses" else "Describe"
        flare = action == "CreateTags" and parameters["Tags"][0]["Key"] == TAG_FLARE
        return "Flare" if flare else "ReplaceRoute" if action == "CreateRoute" else action

    def _subject(self, action: str, parameters: Answer) -> str:
        if action in ("ReplaceRoute", "CreateRoute"):
            return str(parameters["RouteTableId"])
        if action == "AssociateAddress":
            return str(parameters["AllocationId"])
        found = None if action.startswith("Describe") else parameters.get("InstanceIds") or parameters.get("Resources")
        names = [name for name in self._cloud.names if found and self._cloud.instance_id(name) == found[0]]
        return names[0] if names else ""

    def _apply(self, action: str, parameters: Answer) -> Answer:
        return t.cast(Answer, getattr(self, "_" + action)(**parameters) or {})

    # --- reading ---------------------------------------------------------------------------------------------------

    def _DescribeRouteTables(self, RouteTableIds: t.Sequence[str] = (), Filters: t.Any = (), **_pages: t.Any) -> Answer:
        state = self._cloud.seen()
        tables: dict[str, list[Answer]] = {}
        for claim, target in state.routes.items():
            routes = tables.setdefault(claim.route_table, [])
            if target is not None:
                routes.append(self._route(state, claim, target))
        unknown = [table for table in RouteTableIds if table not in tables]
        if unknown:
            raise Refused("InvalidRouteTableID.NotFound")
        names = {each["Name"]: each["Values"] for each in Filters}
        if "route-table-id" in names:
            RouteTableIds = names["route-table-id"]
        elif names:
            RouteTableIds = list(state.homes)
        return {
            "RouteTables": [
                {"RouteTableId": table, "Routes": routes, "Tags": self._table_tags(state, table)}
                for table, routes in tables.items()
                if table in RouteTableIds
            ]
        }

    @staticmethod
    def _route(state: State, claim: Claim, target: str) -> Answer:
        owner = owner_of(target)
        gone = owner in state.instances and state.instances[owner] in ("stopped", "terminated")
        key = "DestinationPrefixListId" if claim.destination.startswith("pl-") else "DestinationCidrBlock"
        key = "DestinationIpv6CidrBlock" if ":" in claim.destination else key
        return {key: claim.destination, "NetworkInterfaceId": target, "State": ROUTE_BLACKHOLE if gone else "active"}

    @staticmethod
    def _table_tags(state: State, table: str) -> list[Answer]:
        home = state.homes.get(table)
        return [{"Key": TAG_CLUSTER, "Value": CLUSTER}, {"Key": TAG_HOME, "Value": home}] if home else []

    def _DescribeInstances(self, Filters: t.Sequence[Answer], **_pages: t.Any) -> Answer:
        state, cloud = self._cloud.seen(), self._cloud
        [wanted] = Filters
        instances = [self._instance(state, index, name) for index, name in enumerate(cloud.names)]
        if wanted["Name"] == "instance-id":
            found = [each for each in instances if each["InstanceId"] in wanted["Values"]]
        else:
            found = [each for each in instances if {"Key": TAG_CLUSTER, "Value": CLUSTER} in each["Tags"]]
        return {"Reservations": [{"Instances": found}]}

    def _instance(self, state: State, index: int, name: str) -> Answer:
        generation = state.generations[name]
        identity = {} if name in self._cloud.untagged else {TAG_CLUSTER: CLUSTER, TAG_NODE: name}
        tags = {**state.tags[name], **identity}
        nic = {
            "NetworkInterfaceId": interface(name),
            "Attachment": {"DeviceIndex": 0, "AttachTime": f"2026-01-01T{generation:06d}"},
            "PrivateIpAddress": self._cloud.primary(name),
            "PrivateIpAddresses": [{"PrivateIpAddress": each} for each in self._cloud.held(name)],
            "SourceDestCheck": False,
        }
        return {
            "InstanceId": f"i-{generation:08x}{index + 1:09x}",
            "State": {"Name": state.instances[name]},
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            "NetworkInterfaces": [nic],
        }

    # --- Elastic IPs -----------------------------------------------------------------------------------------------

    def _DescribeAddresses(self, Filters: t.Sequence[Answer]) -> Answer:
        [wanted], found = Filters, self._cloud.seen().addresses
        rows = []
        for each in wanted["Values"]:
            interface_id, private = found[each]
            at = {"NetworkInterfaceId": interface_id, "PrivateIpAddress": private} if interface_id else {}
            rows.append({"AllocationId": each, "PublicIp": "203.0.113.1", **at})
        return {"Addresses": rows}

    def _AssociateAddress(
        self, AllocationId: str, NetworkInterfaceId: str, PrivateIpAddress: str, AllowReassociation: bool
    ) -> None:
        if self._cloud.state.addresses[AllocationId][0] and not AllowReassociation:
            raise Refused("Resource.AlreadyAssociated")
        self._cloud.associate(self._process.name, AllocationId, (NetworkInterfaceId, PrivateIpAddress))

    # --- routes ----------------------------------------------------------------------------------------------------

    def _claim(self, table: str, destinations: Answer) -> Claim:
        known = [claim for claim in self._cloud.state.routes if claim.route_table == table]
        if not known:
            raise Refused("InvalidRouteTableID.NotFound")
        wanted = set(destinations.values())
        return next(claim for claim in known if claim.destination in wanted)

    def _ReplaceRoute(self, RouteTableId: str, NetworkInterfaceId: str, **destination: str) -> None:
        claim = self._claim(RouteTableId, destination)
        if self._cloud.state.routes[claim] is None:
            raise Refused("InvalidParameterValue")
        self._cloud.set_route(self._process.name, claim, NetworkInterfaceId)

    def _CreateRoute(self, RouteTableId: str, NetworkInterfaceId: str, **destination: str) -> None:
        claim = self._claim(RouteTableId, destination)
        if self._cloud.state.routes[claim] is not None:
            raise Refused("RouteAlreadyExists")
        self._cloud.set_route(self._process.name, claim, NetworkInterfaceId)

    # --- instances -------------------------------------------------------------------------------------------------

    def _node(self, instance_id: str) -> str:
        cloud = self._cloud
        found = [name for name in cloud.names if cloud.instance_id(name) == instance_id]
        if not found or cloud.state.instances[found[0]] == "terminated":
            raise Refused("InvalidInstanceID.NotFound")
        return found[0]

    def _CreateTags(self, Resources: t.Sequence[str], Tags: t.Sequence[Answer]) -> None:
        for tag in Tags:
            self._cloud.set_tag(self._process.name, self._node(Resources[0]), tag["Key"], tag["Value"])

    def _DeleteTags(self, Resources: t.Sequence[str], Tags: t.Sequence[Answer]) -> None:
        for tag in Tags:
            self._cloud.set_tag(self._process.name, self._node(Resources[0]), tag["Key"], None)

    def _StopInstances(self, InstanceIds: t.Sequence[str], Force: bool = False) -> None:
        self._cloud.stop(self._process.name, self._node(InstanceIds[0]))

    def _StartInstances(self, InstanceIds: t.Sequence[str]) -> None:
        node = self._node(InstanceIds[0])
        if self._cloud.state.instances[node] not in ("stopped", "running", "pending"):
            raise Refused("IncorrectInstanceState")
        self._cloud.start(self._process.name, node)

    def _RebootInstances(self, InstanceIds: t.Sequence[str]) -> None:
        self._cloud.reboot(self._process.name, self._node(InstanceIds[0]))


class DynamoConnection(FakeConnection):
    """One node's view of the witness table."""

    def __init__(self, process: Process, table: Table) -> None:
        super().__init__(process, table)
        self._table = table

    def _apply(self, action: str, parameters: Answer) -> Answer:
        table = self._table
        if action == "Query":
            return {"Items": self._items()}
        values = {key: each["S"] for key, each in parameters.get("ExpressionAttributeValues", {}).items()}
        if action == "DeleteItem":
            done = table.unlock(self._process.name, values[":v"])
        else:
            item = {key: each["S"] for key, each in parameters["Item"].items()}
            if "holder" not in item:
                table.show(item["item"].partition("/")[2], item["value"])
                return {}
            done = table.lock(item["holder"], item["peer"], item["value"], values[":v"])
        if not done:
            raise Refused("ConditionalCheckFailedException")
        return {}

    def _items(self) -> list[Answer]:
        items, held = self._table.read()
        rows = [{"item": f"node/{instance}", "value": value} for instance, value in items.items()]
        if held is not None:
            rows.append({"item": "fence", "holder": held[0], "peer": held[1], "value": held[2]})
        return [{key: {"S": value} for key, value in {"cluster": CLUSTER, **row}.items()} for row in rows]
