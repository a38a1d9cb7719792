# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals of EC2 that last: tags without room, a stop of a protected instance. And routes to a further interface, and a clone."""

from __future__ import annotations

import time

from tests.integration.e2e.cluster import DEFAULT_ROUTE, Cluster

PARTITION = 30.0  # seconds: without a bound, routes would be swapped three times
ENOUGH = 50  # tags of one instance


def fill_tags(cluster: Cluster) -> None:
    """Each instance has as many tags as EC2 takes, and no flare among them."""
    client = cluster.lab.client()
    for zone in cluster.lab.ids.zones.values():
        client.delete_tags(Resources=[zone.instance_id], Tags=[{"Key": "nat-failover:flare"}])
        wanted = [{"Name": "resource-id", "Values": [zone.instance_id]}]
        have = len(client.describe_tags(Filters=wanted)["Tags"])
        tags = [{"Key": f"finops:{number:02d}", "Value": "x"} for number in range(ENOUGH - have)]
        client.create_tags(Resources=[zone.instance_id], Tags=tags)


def warnings(cluster: Cluster, node: str) -> str:
    return "\n".join(cluster.status(node)["self"]["warnings"])


def test_nodes_without_room_for_a_flare_do_not_swap_routes_for_ever(cluster: Cluster) -> None:
    fill_tags(cluster)
    cluster.wait("warned before", lambda: "peers cannot see that this node lives" in warnings(cluster, "nat-a"))
    cluster.lab.fault("cut", "nat-a", peer="nat-b", direction="both")
    time.sleep(PARTITION)
    assert "TagLimitExceeded" in warnings(cluster, "nat-a") + warnings(cluster, "nat-b")
    assert 1 <= len(cluster.writes("ReplaceRoute", "CreateRoute")) <= 6
    assert cluster.writes("StopInstances", "RebootInstances") == []
    cluster.lab.heal()


def test_an_instance_with_stop_protection_is_rebooted(cluster: Cluster) -> None:
    lab = cluster.lab
    instance = lab.ids.zones["a"].instance_id
    lab.client().modify_instance_attribute(InstanceId=instance, DisableApiStop={"Value": True})
    lab.fault("kill", "nat-a")
    cluster.wait("a reboot", lambda: ("RebootInstances", "nat-b") in cluster.writes("RebootInstances"), 30)
    assert cluster.writes("StopInstances") == [("StopInstances", "nat-b")], "it is not repeated"
    text = warnings(cluster, "nat-b")
    assert instance in text and "end the stop protection" in text and "a reboot instead" in text
    cluster.settle()


def test_a_route_to_a_further_interface_of_its_home_is_no_drift_and_moves(cluster: Cluster) -> None:
    lab, client = cluster.lab, cluster.lab.client()
    zone = lab.ids.zones["a"]
    described = client.describe_instances(InstanceIds=[zone.instance_id])["Reservations"][0]["Instances"][0]
    made = client.create_network_interface(SubnetId=described["SubnetId"])["NetworkInterface"]
    second = made["NetworkInterfaceId"]
    client.attach_network_interface(NetworkInterfaceId=second, InstanceId=zone.instance_id, DeviceIndex=1)
    client.replace_route(RouteTableId=zone.route_table, DestinationCidrBlock=DEFAULT_ROUTE, NetworkInterfaceId=second)

    def owner() -> tuple[str, str]:
        row = next(row for row in cluster.status("nat-b")["claims"] if row["route_table"] == zone.route_table)
        return row["owner"], row["target"]

    cluster.wait("nat-b reads it", lambda: owner() == ("nat-a", second))
    assert cluster.status("nat-b")["drift"] == cluster.status("nat-a")["drift"] == []
    assert {caller for _action, caller in cluster.writes("ReplaceRoute")}.isdisjoint({"nat-a", "nat-b"})
    lab.fault("kill", "nat-a")
    cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 5)
