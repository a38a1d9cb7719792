# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and route tables that come and go: found by their tags, followed without a restart. The configuration names neither."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab import vpc
from lab.tags import CLUSTER, CLUSTER_TAG, NODE_TAG
from tests.integration.e2e.cluster import Cluster, running_cluster

NODES = ("nat-a", "nat-b")


def tag(cluster: Cluster, resource: str, **tags: str) -> None:
    named = [{"Key": f"nat-failover:{key}", "Value": value} for key, value in tags.items()]
    cluster.lab.client().create_tags(Resources=[resource], Tags=named)


def by_tags(cluster: Cluster) -> None:
    """Nothing but the names is configured."""
    cluster.settings["nodes"] = [{"name": name} for name in NODES]
    for zone in cluster.lab.ids.zones.values():
        tag(cluster, zone.route_table, home=zone.node)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all: each test leaves everything at home."""
    with running_cluster(tmp_path_factory.mktemp("tags"), prepare=by_tags) as running:
        yield running


def instance(cluster: Cluster, node: str, of: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in cluster.status(node)["instances"] if row["node"] == of)
    return found


def stops(cluster: Cluster) -> list[tuple[str, str]]:
    return cluster.writes("StopInstances", "StartInstances", "RebootInstances")


def test_a_node_that_was_replaced_is_followed_and_gets_its_route_back(cluster: Cluster) -> None:
    lab, survivor = cluster.lab, cluster.service("nat-b").pid
    old = lab.ids.zones["a"]
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        lab.terminate("nat-a")
        cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 5)
        stream.wait_for_answer()
        lab.relaunch("nat-a", "10.0.0.20")
        new = lab.ids.zones["a"]
        assert new.instance_id != old.instance_id and new.interface_id != old.interface_id
        cluster.settle()
        stream.wait_for_answer()
    assert lab.target(new.route_table) == new.interface_id
    assert f"nat-a is {new.instance_id} now, it was {old.instance_id}" in cluster.events("nat-b", "replaced")
    assert instance(cluster, "nat-b", "nat-a")["address"] == "10.0.0.20"
    assert (cluster.service("nat-b").pid, cluster.service("nat-b").poll()) == (survivor, None), "no restart"
    assert stops(cluster) == []


def test_a_replacement_in_the_middle_of_a_fence_is_not_fenced(cluster: Cluster) -> None:
    """The peer's configuration names the instance that is gone, and so does the replacement's own."""
    lab = cluster.lab
    old = lab.ids.zones["b"].instance_id
    before = len(stops(cluster))
    cluster.settings["nodes"] = [{"name": "nat-a"}, {"name": "nat-b", "instance_id": old}]
    cluster.write_config("nat-a")
    cluster.service("nat-a").send_signal(signal.SIGHUP)
    cluster.wait("reloaded", lambda: cluster.events("nat-a", "reloaded") != [])
    lab.control("stuck", {"instance": old})
    lab.fault("kill", "nat-b")
    cluster.wait("it is stopped", lambda: len(stops(cluster)) == before + 1, 30)
    lab.terminate("nat-b")
    lab.relaunch("nat-b", "10.0.1.21")
    new = lab.ids.zones["b"].instance_id
    cluster.settle()
    time.sleep(3)
    assert stops(cluster)[before:] == [("StopInstances", "nat-a")], "the predecessor only"
    assert instance(cluster, "nat-b", "nat-b")["instance_id"] == new, "it asked IMDS who it is"
    assert cluster.status("nat-b")["forbidden"] == ""
    tags = lab.client().describe_tags(Filters=[{"Name": "resource-id", "Values": [new]}])["Tags"]
    assert "nat-failover:fence" not in [each["Key"] for each in tags]
    cluster.settings["nodes"] = [{"name": name} for name in NODES]


def test_a_second_instance_of_the_same_name_is_drift_and_the_first_one_stays(cluster: Cluster) -> None:
    lab, client = cluster.lab, cluster.lab.client()
    mine = instance(cluster, "nat-b", "nat-a")["instance_id"]
    before = cluster.writes()
    names = [{"Key": key, "Value": value} for key, value in ((CLUSTER_TAG, CLUSTER), (NODE_TAG, "nat-a"))]
    rival = client.run_instances(
        ImageId=vpc.IMAGE,
        MinCount=1,
        MaxCount=1,
        SubnetId=lab.ids.zones["a"].public_subnet,
        TagSpecifications=[{"ResourceType": "instance", "Tags": names}],
    )["Instances"][0]["InstanceId"]
    said = f"nat-a is {mine}, and {rival} runs with the same tags"
    cluster.wait("both tell", lambda: all(said in str(cluster.status(node)["drift"]) for node in NODES))
    assert instance(cluster, "nat-b", "nat-a")["instance_id"] == mine
    client.terminate_instances(InstanceIds=[rival])
    cluster.wait("it is over", lambda: all(cluster.status(node)["drift"] == [] for node in NODES))
    assert cluster.writes() == before


def test_route_tables_come_and_go_with_their_tags(cluster: Cluster) -> None:
    lab, client = cluster.lab, cluster.lab.client()

    def claims(node: str) -> dict[str, Any]:
        return {row["route_table"]: row["owner"] for row in cluster.status(node)["claims"]}

    with lab.api.lock:
        [table] = vpc.add_route_tables(1, lab.ids.zones["a"])  # its default route goes to nat-a
    tag(cluster, table, home="nat-x")
    cluster.wait(
        "a wrong name is told", lambda: "names no node that may own it" in str(cluster.status("nat-b")["drift"])
    )
    assert table not in claims("nat-b")
    tag(cluster, table, home="nat-b")
    cluster.wait("it comes home", lambda: claims("nat-a").get(table) == claims("nat-b").get(table) == "nat-b")
    assert lab.target(table) == lab.ids.zones["b"].interface_id
    client.delete_route(RouteTableId=table, DestinationCidrBlock=vpc.DEFAULT_ROUTE)
    cluster.wait("it is mended", lambda: lab.target(table) == lab.ids.zones["b"].interface_id)
    assert cluster.writes()[-1] == ("CreateRoute", "nat-b")
    client.delete_route_table(RouteTableId=table)
    cluster.wait("it is gone", lambda: all(table not in claims(node) for node in NODES))
    cluster.wait("and nothing is left to tell", lambda: cluster.status("nat-b")["drift"] == [])
