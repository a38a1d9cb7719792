# SPDX-License-Identifier: GPL-3.0-or-later
"""Restraint: no act on its own blindness, no stop of a node that lives."""

from __future__ import annotations

import json
import signal
import time

from tests.integration.e2e.cluster import Cluster

LONG = 14.0  # seconds: beyond both nodes' fence delay (5 s and 5 s more for the second in rank)


def test_a_partition_between_the_nodes_stops_nobody(cluster: Cluster) -> None:
    lab = cluster.lab
    with lab.stream("client-a") as a, lab.stream("client-b") as b:
        a.wait_for_answer()
        b.wait_for_answer()
        lab.fault("cut", "nat-a", peer="nat-b", direction="both")
        time.sleep(LONG)
        assert cluster.verdict("nat-a", "nat-b") == cluster.verdict("nat-b", "nat-a") == "partitioned"
        lab.heal()
        cluster.settle()
    assert cluster.writes("StopInstances", "StartInstances", "RebootInstances") == []
    assert a.result().outage_ms() < 500 and b.result().outage_ms() < 500, "a busy machine may stand still for a moment"
    assert len(cluster.writes()) <= 4, "at worst one swap, and back"


def test_one_way_loss_stops_nobody(cluster: Cluster) -> None:
    cluster.lab.fault("cut", "nat-a", peer="nat-b", direction="out")
    time.sleep(LONG)
    cluster.lab.heal()
    cluster.settle()
    assert cluster.writes("StopInstances", "StartInstances") == []


def test_a_node_without_internet_does_nothing(cluster: Cluster) -> None:
    lab = cluster.lab
    began = time.time()
    lab.fault("uplink", "nat-a")
    cluster.wait("nat-b takes over", lambda: lab.owner("a") == "nat-b", 10)
    time.sleep(LONG)
    assert cluster.status("nat-a")["self"]["fact"]
    lab.heal()
    cluster.settle()
    late = [
        call
        for call in lab.calls(caller="nat-a")
        if call.action in ("ReplaceRoute", "StopInstances") and call.wall < began + LONG
    ]
    assert late == []
    assert cluster.writes("StopInstances") == [], "it said itself what was wrong: no reason to stop it"


def test_a_paused_cluster_writes_nothing_and_goes_on_afterwards(cluster: Cluster) -> None:
    lab = cluster.lab
    assert cluster.run("nat-b", "pause", "--for", "1h").returncode == 0
    assert len(cluster.writes("CreateTags")) >= 2, "on both: an instance that ends takes its tags along"
    cluster.wait("nat-a knows", lambda: "is paused" in cluster.status("nat-a")["forbidden"])
    before = len([call for call in lab.calls() if not call.action.startswith("Describe")])
    lab.fault("kill", "nat-a")
    cluster.wait("nat-b sees it", lambda: cluster.verdict("nat-b", "nat-a") == "failed", 5)
    time.sleep(2)
    assert len([call for call in lab.calls() if not call.action.startswith("Describe")]) == before
    assert "withheld" in cluster.run("nat-b", "status").stdout
    assert cluster.run("nat-b", "unpause").stdout == "not paused\n"
    cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 5)


def test_an_api_outage_changes_nothing_and_the_takeover_follows(cluster: Cluster) -> None:
    lab = cluster.lab
    lab.fault("api", action="*", error="ServiceUnavailable")
    lab.fault("kill", "nat-a")
    time.sleep(4)
    assert lab.owner("a") == "nat-a"
    assert cluster.verdict("nat-b", "nat-a") == "silent"
    lab.clear_faults()
    cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 15)


def test_a_stopped_service_is_reported_and_nothing_moves(cluster: Cluster) -> None:
    lab = cluster.lab
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        service = cluster.service("nat-a")
        service.terminate()
        assert service.wait(timeout=5) == 0
        cluster.wait("nat-b sees it", lambda: cluster.verdict("nat-b", "nat-a") == "unmanaged", 5)
        time.sleep(6)
        cluster.start(lab.host("nat-a"))
        cluster.settle()
    assert stream.result().packets_lost == 0
    assert cluster.writes() == []


def test_a_frozen_service_concludes_nothing_when_it_goes_on(cluster: Cluster) -> None:
    service = cluster.service("nat-b")
    service.send_signal(signal.SIGSTOP)
    time.sleep(3)
    service.send_signal(signal.SIGCONT)
    time.sleep(3)
    cluster.settle()
    assert cluster.writes() == []


def test_a_node_that_no_longer_forwards_hands_over_and_lives(cluster: Cluster) -> None:
    lab = cluster.lab
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        when = lab.fault("unforward", "nat-a")
        cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 6)
        stream.wait_for_answer()
        time.sleep(0.3)
        assert "ip_forward=0" in cluster.status("nat-a")["summary"]
    assert stream.result().outage_ms(when) < 5000
    assert cluster.writes() == [("ReplaceRoute", "nat-b")]


def test_flushed_rules_are_noticed(cluster: Cluster) -> None:
    lab = cluster.lab
    lab.fault("flush", "nat-a")
    cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 6)
    assert "no jump from POSTROUTING" in cluster.status("nat-a")["self"]["fact"]
    assert cluster.run("nat-a", "rules", "check").returncode == 1
    assert cluster.run("nat-a", "rules", "apply").stdout == "changed\n"
    cluster.settle()


def test_somebody_elses_route_is_left_alone_and_a_missing_one_is_mended(cluster: Cluster) -> None:
    lab = cluster.lab
    table, ec2 = lab.ids.zones["a"].route_table, lab.client()
    gateway = lab.ids.internet_gateway
    ec2.replace_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    time.sleep(4)
    assert lab.target(table) == gateway
    assert cluster.writes() == [("ReplaceRoute", "operator")]
    assert "no node of this cluster" in cluster.status("nat-a")["drift"][0]
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    cluster.wait("it is mended", lambda: lab.owner("a") == "nat-a")
    assert ("CreateRoute", "nat-a") in cluster.writes()


def test_a_machine_that_runs_under_the_name_of_another_writes_nothing(cluster: Cluster) -> None:
    """An image of nat-a on nat-b's machine, or swapped ids in an inventory: IMDS knows better than the configuration."""
    lab = cluster.lab
    cluster.service("nat-b").terminate()
    cluster.service("nat-b").wait(10)
    path = cluster.write_config("nat-b")
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "self": "nat-a"}), encoding="utf-8")
    with cluster.log.open("ab") as log:
        impostor = lab.host("nat-b").popen(
            cluster.command("nat-b", "run"), env=cluster.environment(), stdout=log, stderr=log
        )
    try:
        mine, theirs = (lab.ids.zones[zone].instance_id for zone in "ba")
        said = f"EC2 shows nat-a as {theirs}, and this machine is {mine}"
        cluster.wait("it knows who it is", lambda: cluster.status("nat-b")["forbidden"] == said)
        lab.fault("kill", "nat-a")
        time.sleep(3)
        assert cluster.writes() == [] and cluster.status("nat-b")["forbidden"] == said
    finally:
        impostor.terminate()
        impostor.wait(10)
