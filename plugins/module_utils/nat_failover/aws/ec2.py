# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter of EC2. Blocking, and safe to call from several threads.

Every failure is an ``Ec2Error`` with a remedy, also an answer that is no answer of EC2. Source: the
EC2 API Reference.
"""

from __future__ import annotations

import functools
import time
import typing as t

from ..errors import Ec2Error
from ..model.cluster import ROUTE_NO_TABLE, TAG_CLUSTER, TAG_HOME, AddressView, Claim, InstanceView, Node, RouteView
from ..model.text import plain
from . import calls, client, codes, ec2_mapping
from .ec2_client import CONNECTIONS, NOT_MADE, Ec2Client

# A write may have been applied
UNCERTAIN = codes.of(codes.UNCERTAIN)
THROTTLED = codes.of(codes.THROTTLED)
PART = 100  # Route tables of one call: EC2 answers with so many in a page
T = t.TypeVar("T")


def parts(items: t.Sequence[T]) -> list[t.Sequence[T]]:
    """The items, in portions of which one call answers each with one page."""
    return [items[start : start + PART] for start in range(0, len(items), PART)]


def _routes_of(tables: t.Iterable[t.Any]) -> dict[str, t.Any]:
    return {plain(str(table["RouteTableId"])): table.get("Routes", []) for table in tables}


class Ec2(Ec2Client):
    """The EC2 calls that this product makes.

    Timeouts in seconds, ``read_at`` by ``clock`` when the call began.
    """

    def __init__(
        self,
        region: str,
        endpoint_url: str | None = None,
        *,
        connect_timeout: float = 1.0,
        read_timeout: float = 2.0,
        create_routes: bool = True,
        clock: t.Callable[[], float] = time.monotonic,
        connection: client.Caller | None = None,
    ) -> None:
        """``connection`` takes the place of boto3's client."""
        super().__init__(
            connection
            or client.Connection("ec2", region, endpoint_url, connect_timeout, read_timeout, pool=CONNECTIONS)
        )
        self._clock, self.create_routes = clock, create_routes

    # --- reading ----------------------------------------------------------------------------------

    def describe_routes(self, claims: t.Iterable[Claim], strict: bool = False) -> dict[Claim, RouteView]:
        """DescribeRouteTables: the route of each claim. Without a route its state is ``missing``.

        Its state is ``no-table`` if EC2 does not know the table. With ``strict`` an error names all
        such tables.
        """
        claims = tuple(claims)
        ids = sorted({claim.route_table for claim in claims})
        began = self._clock()
        tables = self._tables(ids)
        unknown = [table for table in ids if table not in tables]
        if unknown and strict:
            raise self._error(
                calls.DESCRIBE_ROUTE_TABLES,
                ", ".join(unknown),
                "InvalidRouteTableID.NotFound",
                "there is no such route table in this region",
            )
        gone = RouteView(ROUTE_NO_TABLE, None, began)

        def views() -> dict[Claim, RouteView]:
            return {
                claim: ec2_mapping.route_view(tables[claim.route_table], claim.destination, began)
                if claim.route_table in tables
                else gone
                for claim in claims
            }

        return self._understood(calls.DESCRIBE_ROUTE_TABLES, ", ".join(ids), views)

    def _tables(self, ids: list[str]) -> dict[str, t.Any]:
        """Routes by table id. Tables that EC2 does not know are left out.

        By a filter: one unknown id among RouteTableIds fails the whole call.
        """
        found: dict[str, t.Any] = {}
        for part in parts(ids):
            resource = ", ".join(part)
            wanted = [{"Name": "route-table-id", "Values": part}]
            tables = self._pages(calls.DESCRIBE_ROUTE_TABLES, resource, "RouteTables", Filters=wanted)
            found.update(self._understood(calls.DESCRIBE_ROUTE_TABLES, resource, functools.partial(_routes_of, tables)))
        return found

    def local_networks(self, tables: t.Iterable[str]) -> tuple[str, ...]:
        """DescribeRouteTables: the networks of the VPC, which each table routes as ``local``."""
        ids = sorted(set(tables))
        found = self._tables(ids)
        return self._understood(
            calls.DESCRIBE_ROUTE_TABLES,
            ", ".join(ids),
            lambda: tuple(sorted({each for routes in found.values() for each in ec2_mapping.local(routes)})),
        )

    def describe_homes(self, cluster: str) -> dict[str, str]:
        """DescribeRouteTables: the cluster's tables that carry a home tag, with the node that it
        names.
        """
        wanted = [
            {"Name": "tag:" + TAG_CLUSTER, "Values": [cluster]},
            {"Name": "tag-key", "Values": [TAG_HOME]},
        ]
        tables = self._pages(calls.DESCRIBE_ROUTE_TABLES, f"cluster {cluster}", "RouteTables", Filters=wanted)
        tags = self._understood(
            calls.DESCRIBE_ROUTE_TABLES,
            f"cluster {cluster}",
            lambda: {plain(str(table["RouteTableId"])): ec2_mapping.tags(table) for table in tables},
        )
        # The filters ask for the same. A table must not fall to a node by a mistake in a filter.
        return {
            table: found[TAG_HOME]
            for table, found in tags.items()
            if TAG_HOME in found and found.get(TAG_CLUSTER) == cluster
        }

    def find_instances(self, nodes: t.Iterable[Node], cluster: str) -> dict[str, InstanceView]:
        """DescribeInstances: instance id -> view.

        Instances with the cluster's tag, and those that the nodes name.

        One call where every node carries the tag. Unknown ids are left out.
        """
        found = self.tagged_instances(cluster) if cluster else {}
        missing = {node.instance_id for node in nodes if node.instance_id} - found.keys()
        return {**found, **self.named_instances(missing)} if missing else found

    def tagged_instances(self, cluster: str) -> dict[str, InstanceView]:
        """DescribeInstances: instance id -> view, of the instances with the cluster's tag."""
        return self._views(f"cluster {cluster}", "tag:" + TAG_CLUSTER, [cluster])

    def named_instances(self, ids: t.Iterable[str]) -> dict[str, InstanceView]:
        """DescribeInstances: instance id -> view. Unknown ids are left out.

        By a filter: one unknown id among InstanceIds fails the whole call.
        """
        wanted = sorted(ids)
        return self._views(", ".join(wanted), "instance-id", wanted)

    def _views(self, resource: str, name: str, values: list[str]) -> dict[str, InstanceView]:
        began = self._clock()
        found = self._instances(resource, Filters=[{"Name": name, "Values": values}])
        return self._understood(
            calls.DESCRIBE_INSTANCES,
            resource,
            lambda: {each: ec2_mapping.instance_view(instance, began) for each, instance in found.items()},
        )

    def instance_at(self, address: str, vpc_id: str = "") -> str:
        """DescribeInstances: the id of the instance with a private address, or ""."""
        wanted = [{"Name": "network-interface.addresses.private-ip-address", "Values": [address]}]
        if vpc_id:
            wanted.append({"Name": "vpc-id", "Values": [vpc_id]})
        return min(self._instances(f"address {address}", Filters=wanted), default="")

    def _instances(self, resource: str, **wanted: t.Any) -> dict[str, t.Any]:
        """Instances as EC2 describes them, by id."""
        reservations = self._pages(calls.DESCRIBE_INSTANCES, resource, "Reservations", **wanted)
        return self._understood(
            calls.DESCRIBE_INSTANCES,
            resource,
            lambda: {
                plain(str(instance["InstanceId"])): instance for each in reservations for instance in each["Instances"]
            },
        )

    def describe_addresses(self, allocations: t.Iterable[str]) -> dict[str, AddressView]:
        """DescribeAddresses: allocation id -> its Elastic IP, also for ids that EC2 does not know.

        By a filter: one unknown id among AllocationIds fails the whole call.
        """
        wanted = sorted(allocations)
        began = self._clock()
        where, filters = ", ".join(wanted), [{"Name": "allocation-id", "Values": wanted}]
        answer = self._call(calls.DESCRIBE_ADDRESSES, where, Filters=filters)

        def views() -> dict[str, AddressView]:
            found = {plain(str(each["AllocationId"])): each for each in answer["Addresses"]}
            return {each: ec2_mapping.address_view(found.get(each), began) for each in wanted}

        return self._understood(calls.DESCRIBE_ADDRESSES, where, views)

    # --- Elastic IPs ------------------------------------------------------------------------------

    def associate_address(self, allocation: str, interface_id: str, private: str) -> None:
        """AssociateAddress with a private address of an interface, wherever the Elastic IP is now."""
        self._call(
            calls.ASSOCIATE_ADDRESS,
            f"elastic-ip {allocation}",
            **ec2_mapping.association(allocation, interface_id, private),
        )

    # --- routes -----------------------------------------------------------------------------------

    def write_route(self, claim: Claim, interface_id: str) -> None:
        """ReplaceRoute by network interface id, CreateRoute where there is none and
        ``create_routes`` allows it.

        Returns when EC2 has answered. The answer is no proof: read the route again (law L9).
        """
        where = f"route-table {claim.route_table} ({claim.destination})"
        route = ec2_mapping.route(claim, interface_id)
        try:
            self._call(calls.REPLACE_ROUTE, where, **route)
        except Ec2Error as error:
            # "There is no route defined for ... Use CreateRoute instead." For any other cause
            # CreateRoute fails too.
            if error.code not in ("InvalidParameterValue", "InvalidRoute.NotFound"):
                raise
            if not self.create_routes:
                raise self._error(calls.REPLACE_ROUTE, where, NOT_MADE, "there is no such route") from None
            try:
                self._call(calls.CREATE_ROUTE, where, **route)
            except Ec2Error as second:
                if second.code != "RouteAlreadyExists":
                    raise
                # A peer created it between the two calls
                self._call(calls.REPLACE_ROUTE, where, **route)

    # --- instances --------------------------------------------------------------------------------

    def stop(self, instance_id: str, force: bool = False) -> None:
        """StopInstances. ``force``: for an instance that hangs in ``stopping``."""
        self._call(calls.STOP_INSTANCES, f"instance {instance_id}", InstanceIds=[instance_id], Force=force)

    def start(self, instance_id: str) -> None:
        """StartInstances."""
        self._call(calls.START_INSTANCES, f"instance {instance_id}", InstanceIds=[instance_id])

    def reboot(self, instance_id: str) -> None:
        """RebootInstances. EC2 resets a guest that does not shut down within a few minutes."""
        self._call(calls.REBOOT_INSTANCES, f"instance {instance_id}", InstanceIds=[instance_id])

    def set_tag(self, instance_id: str, key: str, value: str) -> None:
        """CreateTags, which overwrites.

        The value is cut to 256 characters, the most that EC2 takes.
        """
        self._call(
            calls.CREATE_TAGS,
            f"instance {instance_id}",
            Resources=[instance_id],
            Tags=[{"Key": key, "Value": value[:256]}],
        )

    def delete_tag(self, instance_id: str, key: str) -> None:
        """DeleteTags. A tag that is not there is fine."""
        self._call(calls.DELETE_TAGS, f"instance {instance_id}", Resources=[instance_id], Tags=[{"Key": key}])

    def source_dest_check(self, instance_id: str) -> bool:
        """Whether the source/destination check of the primary interface is on.

        It must be off on a NAT instance.
        """
        return bool(self.interface(instance_id).get("SourceDestCheck", True))

    def set_source_dest_check(self, instance_id: str, enabled: bool) -> None:
        """ModifyNetworkInterfaceAttribute on the primary interface.

        The call for instances fails where there are several.
        """
        interface = self.interface(instance_id)["NetworkInterfaceId"]
        self._call(
            calls.MODIFY_NETWORK_INTERFACE_ATTRIBUTE,
            f"network-interface {interface}",
            NetworkInterfaceId=interface,
            SourceDestCheck={"Value": enabled},
        )

    def _instance(self, instance_id: str) -> dict[str, t.Any]:
        found = self._instances(instance_id, InstanceIds=[instance_id])
        if instance_id not in found:
            raise self._error(
                calls.DESCRIBE_INSTANCES, instance_id, "InvalidInstanceID.NotFound", "there is no such instance"
            )
        return t.cast(dict[str, t.Any], found[instance_id])

    def interface(self, instance_id: str) -> t.Mapping[str, t.Any]:
        """The primary interface. A terminated instance, which EC2 shows for an hour, has none."""
        instance = self._instance(instance_id)
        interface, state = self._understood(
            calls.DESCRIBE_INSTANCES,
            instance_id,
            lambda: (ec2_mapping.primary(instance), ec2_mapping.instance_view(instance, 0.0).state),
        )
        if "NetworkInterfaceId" not in interface:
            raise self._error(
                calls.DESCRIBE_INSTANCES,
                instance_id,
                "IncorrectInstanceState",
                f"the instance has no network interface, it is {state}",
            )
        return interface
