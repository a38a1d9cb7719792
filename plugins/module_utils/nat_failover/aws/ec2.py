# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2, and nothing else knows it. Blocking and safe to call from several threads; every failure is an ``Ec2Error`` with a remedy."""

from __future__ import annotations

import time
import typing as t

from ..errors import Ec2Error, NatFailoverError
from ..model.cluster import ROUTE_NO_TABLE, TAG_CLUSTER, TAG_HOME, Claim, InstanceView, Node, RouteView
from ..policy import membership as discovery
from . import client as aws
from . import ec2_mapping as ec2_terms
from . import permissions as ec2_permissions

RETRYABLE = aws.RETRYABLE | {"IncorrectInstanceState", "IncorrectState"}
UNCERTAIN = frozenset(("Timeout", "EndpointUnreachable", "BadAnswer"))  # a write may have been applied all the same
THROTTLED = frozenset(("RequestLimitExceeded", "Throttling", "ThrottlingException"))
THROTTLE_TRIES, THROTTLE_PAUSE = 6, 0.25  # dry runs only; the pause (seconds) doubles
CONNECTIONS = 64  # as many as there are threads that call: writers, and readers beside them
NO_TABLE = frozenset(("InvalidRouteTableID.NotFound", "InvalidRouteTableId.Malformed"))


class Ec2:
    """The few EC2 calls that this product makes. Times in seconds."""

    def __init__(
        self,
        region: str,
        endpoint_url: t.Optional[str] = None,
        *,
        connect_timeout: float = 1.0,
        read_timeout: float = 2.0,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._url = endpoint_url or "https://ec2.%s.amazonaws.com" % region
        self._aws = aws.Connection("ec2", region, endpoint_url, connect_timeout, read_timeout, pool=CONNECTIONS)

    # --- reading -------------------------------------------------------------------------------------------------------------------

    def describe_routes(self, claims: t.Iterable[Claim], strict: bool = False) -> t.Dict[Claim, RouteView]:
        """DescribeRouteTables: what each claim's route targets now; a claim without a route is ``missing``.

        A claim on a table unknown to EC2 is ``no-table``, or with ``strict`` an error that names all such tables.
        """
        claims = tuple(claims)
        ids = sorted({claim.route_table for claim in claims})
        began = self._clock()
        tables: t.Dict[str, t.Any] = {}
        for start in range(0, len(ids), 100):  # EC2 pages at 100 tables when ids are given
            tables.update(self._tables(ids[start : start + 100]))
        unknown = [table for table in ids if table not in tables]
        if unknown and strict:
            raise self._error(
                "DescribeRouteTables",
                ", ".join(unknown),
                "InvalidRouteTableID.NotFound",
                "there is no such route table in this region",
            )
        gone = RouteView(ROUTE_NO_TABLE, None, began)
        return {
            claim: ec2_terms.route_view(tables[claim.route_table], claim.destination, began)
            if claim.route_table in tables
            else gone
            for claim in claims
        }

    def _tables(self, ids: t.List[str]) -> t.Dict[str, t.Any]:
        """Routes by table id; tables that EC2 does not know are left out."""
        resource = ", ".join(ids)
        try:
            tables = self._read("DescribeRouteTables", resource, "RouteTables", RouteTableIds=ids)["RouteTables"]
        except Ec2Error as error:
            if error.code not in NO_TABLE:
                raise
            # One unknown id spoils the whole call, a filter just matches less. It pages, though.
            wanted = [{"Name": "route-table-id", "Values": ids}]
            tables = self._pages("DescribeRouteTables", resource, "RouteTables", Filters=wanted)
        return {table["RouteTableId"]: table.get("Routes", []) for table in tables}

    def describe_homes(self, cluster: str) -> t.Dict[str, str]:
        """DescribeRouteTables: the cluster's tables that carry a home tag, with the node that it names."""
        wanted = [
            {"Name": "tag:" + TAG_CLUSTER, "Values": [cluster]},
            {"Name": "tag-key", "Values": [TAG_HOME]},
        ]
        tables = self._pages("DescribeRouteTables", "cluster %s" % cluster, "RouteTables", Filters=wanted)
        tags = {table["RouteTableId"]: {tag["Key"]: tag["Value"] for tag in table.get("Tags", ())} for table in tables}
        # The filters say so already; but a table must not fall to a node by the slip of a filter.
        return {
            table: found[TAG_HOME]
            for table, found in tags.items()
            if TAG_HOME in found and found.get(TAG_CLUSTER) == cluster
        }

    def describe_instances(
        self, nodes: t.Iterable[Node], strict: bool = False, cluster: str = ""
    ) -> t.Dict[str, InstanceView]:
        """Each node's instance by ``discovery.choose``. One without is ``terminated``, or with ``strict`` an error that names it."""
        nodes = tuple(nodes)
        began = self._clock()
        found = self.find_instances(nodes, cluster)
        chosen, _roster = discovery.choose(nodes, cluster, found, discovery.Roster(), began)
        unknown = [node.instance_id or node.name for node in nodes if not chosen[node.name].instance_id]
        if unknown and strict:
            raise self._error(
                "DescribeInstances",
                ", ".join(unknown),
                "InvalidInstanceID.NotFound",
                "there is no such instance in this region",
            )
        return chosen

    def find_instances(self, nodes: t.Iterable[Node], cluster: str) -> t.Dict[str, InstanceView]:
        """DescribeInstances, by instance id: those that carry the cluster's tag, and those that the configuration names.

        One call where provisioning has tagged the nodes, as it should.
        """
        began = self._clock()
        found: t.Dict[str, t.Any] = {}
        if cluster:
            wanted = [{"Name": "tag:" + TAG_CLUSTER, "Values": [cluster]}]
            found = self._instances("cluster %s" % cluster, Filters=wanted)
        missing = sorted({node.instance_id for node in nodes if node.instance_id} - set(found))
        if missing:  # by a filter: one unknown id among InstanceIds spoils the whole call
            wanted = [{"Name": "instance-id", "Values": missing}]
            found.update(self._instances(", ".join(missing), Filters=wanted))
        return {each: ec2_terms.instance_view(instance, began) for each, instance in found.items()}

    def _instances(self, resource: str, **wanted: t.Any) -> t.Dict[str, t.Any]:
        reservations = self._pages("DescribeInstances", resource, "Reservations", **wanted)
        return {instance["InstanceId"]: instance for each in reservations for instance in each["Instances"]}

    # --- routes --------------------------------------------------------------------------------------------------------------------

    def set_route(self, claim: Claim, interface_id: str) -> RouteView:
        """ReplaceRoute by network interface id, CreateRoute where there is none; then re-read. Returns what was re-read (law L9).

        After a timeout the write may still be applied: the re-read tells, and only if that fails too the timeout is raised.
        """
        try:
            self.write_route(claim, interface_id)
        except Ec2Error as error:
            if error.code not in UNCERTAIN:
                raise
            try:
                return self.describe_routes([claim], strict=True)[claim]
            except Ec2Error:
                raise error from None
        return self.describe_routes([claim], strict=True)[claim]

    def write_route(self, claim: Claim, interface_id: str) -> None:
        """The write alone, for who re-reads many of them together."""
        where = "route-table %s (%s)" % (claim.route_table, claim.destination)
        route = ec2_terms.route(claim, interface_id)
        try:
            self._call("ReplaceRoute", where, **route)
        except Ec2Error as error:
            # "There is no route defined for ... Use CreateRoute instead." Whatever else the code may mean, CreateRoute will say too.
            if error.code not in ("InvalidParameterValue", "InvalidRoute.NotFound"):
                raise
            try:
                self._call("CreateRoute", where, **route)
            except Ec2Error as second:
                if second.code != "RouteAlreadyExists":
                    raise
                self._call("ReplaceRoute", where, **route)  # someone created it between our two calls

    # --- instances -----------------------------------------------------------------------------------------------------------------

    def stop(self, instance_id: str, force: bool = False) -> None:
        """StopInstances; ``force`` for one that hangs in stopping."""
        self._call("StopInstances", "instance %s" % instance_id, InstanceIds=[instance_id], Force=force)

    def start(self, instance_id: str) -> None:
        """StartInstances."""
        self._call("StartInstances", "instance %s" % instance_id, InstanceIds=[instance_id])

    def reboot(self, instance_id: str) -> None:
        """RebootInstances; EC2 resets a guest that does not shut down within a few minutes."""
        self._call("RebootInstances", "instance %s" % instance_id, InstanceIds=[instance_id])

    def set_tag(self, instance_id: str, key: str, value: str) -> None:
        """CreateTags (overwrites)."""
        self._call(
            "CreateTags",
            "instance %s" % instance_id,
            Resources=[instance_id],
            Tags=[{"Key": key, "Value": value[:256]}],
        )

    def delete_tag(self, instance_id: str, key: str) -> None:
        """DeleteTags; a tag that is not there is fine."""
        self._call("DeleteTags", "instance %s" % instance_id, Resources=[instance_id], Tags=[{"Key": key}])

    def source_dest_check(self, instance_id: str) -> bool:
        """Is the source/destination check of the primary interface on? (It must be off on a NAT instance.)"""
        return bool(self._interface(instance_id).get("SourceDestCheck", True))

    def set_source_dest_check(self, instance_id: str, enabled: bool) -> None:
        """ModifyNetworkInterfaceAttribute on the primary interface; the instance-level call fails where there are several."""
        interface = self._interface(instance_id)["NetworkInterfaceId"]
        self._call(
            "ModifyNetworkInterfaceAttribute",
            "network-interface %s" % interface,
            NetworkInterfaceId=interface,
            SourceDestCheck={"Value": enabled},
        )

    def _instance(self, instance_id: str) -> t.Dict[str, t.Any]:
        found = self._instances(instance_id, InstanceIds=[instance_id])
        if instance_id not in found:
            raise self._error(
                "DescribeInstances", instance_id, "InvalidInstanceID.NotFound", "there is no such instance"
            )
        return t.cast(t.Dict[str, t.Any], found[instance_id])

    def _interface(self, instance_id: str) -> t.Mapping[str, t.Any]:
        """The primary interface; a terminated instance, known to EC2 for another hour, has none."""
        instance = self._instance(instance_id)
        interface = ec2_terms.primary(instance)
        if not interface:
            raise self._error(
                "DescribeInstances",
                instance_id,
                "IncorrectInstanceState",
                "the instance has no network interface, it is %s" % instance["State"]["Name"],
            )
        return interface

    # --- permissions -----------------------------------------------------------------------------------------------------------------

    def permissions(
        self, nodes: t.Sequence[Node], claims: t.Sequence[Claim], self_name: str, mode: str, fence: str
    ) -> t.List[str]:
        """Dry runs of every write that ``mode`` needs: one sentence for each permission that is missing, naming action and resource.

        Whatever else goes wrong is raised: what could not be asked is not proven.
        """
        missing = []
        me = next((node for node in nodes if node.name == self_name), None)
        if me is None:
            raise NatFailoverError("self: %s is not in the list of nodes" % self_name)
        interface = self._interface(me.instance_id)["NetworkInterfaceId"]
        for action, resource, parameters in ec2_permissions.needed(nodes, claims, me, mode, fence, interface):
            if not self._allowed(action, resource, parameters):
                missing.append(
                    "missing permission ec2:%s on %s; allow it in the IAM policy of this instance's role"
                    % (action, resource)
                )
        return missing

    def _allowed(self, action: str, resource: str, parameters: t.Mapping[str, t.Any]) -> bool:
        """One dry run. Many tables mean many of them: being throttled is no answer, so ask again, slower."""
        for attempt in range(THROTTLE_TRIES):
            try:
                self._call(action, resource, DryRun=True, **parameters)
            except Ec2Error as error:
                if ec2_permissions.proven(action, error.code):
                    return True
                if error.code in aws.DENIED:
                    return False
                if error.code not in THROTTLED or attempt == THROTTLE_TRIES - 1:
                    raise
                time.sleep(THROTTLE_PAUSE * 2**attempt)
            else:
                return True
        return False

    def _read(self, action: str, resource: str, key: str, **parameters: t.Any) -> t.Any:
        """A call whose answer must hold ``key``: botocore takes any XML, such as a proxy's page, for an empty answer."""
        answer = self._call(action, resource, **parameters)
        if key not in answer:
            raise self._error(action, resource, "BadAnswer", "the answer is not one of EC2, it holds no %s" % key)
        return answer

    def _pages(self, action: str, resource: str, key: str, **parameters: t.Any) -> t.List[t.Any]:
        """All pages of a reading."""
        answer = self._read(action, resource, key, **parameters)
        found = list(answer[key])
        while answer.get("NextToken"):
            answer = self._read(action, resource, key, NextToken=answer["NextToken"], **parameters)
            found += answer[key]
        return found

    def _call(self, action: str, resource: str, **parameters: t.Any) -> t.Any:
        """One call; all of botocore's exceptions become ``Ec2Error`` here."""
        return self._aws.call(action, lambda code, message: self._error(action, resource, code, message), **parameters)

    def _error(self, action: str, resource: str, code: str, message: str) -> Ec2Error:
        remedy = {
            "InvalidRouteTableID.NotFound": "correct the route table id or the region",
            "InvalidInstanceID.NotFound": "correct the instance id or the region",
            "InvalidPrefixListID.NotFound": "correct the prefix list id or the region",
        }.get(code, aws.remedy(code, self._url, "ec2.endpoint_url"))
        if code in aws.DENIED:
            scope = "*" if action.startswith("Describe") else resource  # IAM knows no narrower resource for reading
            remedy = "allow ec2:%s on %s in the IAM policy of this instance's role" % (action, scope)
        return Ec2Error(
            "ec2:%s" % action, resource, code, aws.line(message), retryable=code in RETRYABLE, remedy=remedy
        )
