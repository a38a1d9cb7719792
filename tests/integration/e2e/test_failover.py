# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: a node dies, packets flow again, the node is stopped and started, its route comes home."""

from __future__ import annotations

import time

from lab.fabric import netns
from lab.fabric.network import INTERNET_NS
from tests.integration.e2e.cluster import Cluster
from tests.integration.e2e.flows import ECHOED, RESET, Flows


def test_a_dead_node_is_replaced_fenced_and_gets_its_route_back(cluster: Cluster) -> None:
    lab = cluster.lab
    with lab.stream("client-a") as stream, lab.stream("client-b") as other:
        stream.wait_for_answer()
        other.wait_for_answer()
        killed = lab.fault("kill", "nat-a")
        cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 5)
        stream.wait_for_answer()
        assert lab.host("nat-a").state == "killed", "the route moves long before anything is stopped"
        cluster.wait("nat-a runs again", lambda: lab.host("nat-a").boots == 2, 20)
        cluster.wait("the route is home again", lambda: lab.owner("a") == "nat-a", 20)
        time.sleep(0.3)
        stream.wait_for_answer()
    took = stream.result().outage_ms(killed, killed + 10)
    assert 300 < took < 3000, "a hard death is noticed by silence; the figure itself is measured by the benchmark"
    assert other.result().packets_lost == 0, "zone b never noticed"
    assert cluster.writes() == [
        ("ReplaceRoute", "nat-b"),
        ("StopInstances", "nat-b"),
        ("StartInstances", "nat-b"),
        ("ReplaceRoute", "nat-a"),
    ]
    cluster.wait("nat-b sees it healthy", lambda: cluster.verdict("nat-b", "nat-a") == "healthy")
    cluster.wait("the mark is gone", lambda: not fence_marks(cluster))
    evidence = next(text for text in cluster.events("nat-b", "verdict") if "failed" in text)
    assert "probes unanswered" in evidence and "own forwarding, internet and EC2 API proven" in evidence


def test_orphaned_connections_are_reset_at_once_and_living_ones_never(cluster: Cluster) -> None:
    """With nf_conntrack_tcp_loose on (the kernel's default) and off (a common hardening). A client that only listens hears nothing until it sends."""
    lab = cluster.lab
    # Servers do not always tell who sends on a connection that they do not know: resets must come from the node.
    silence = ["-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST,ACK", "RST", "-j", "DROP"]
    netns.run(["ip", "netns", "exec", lab.names.namespace(INTERNET_NS), "iptables", *silence])
    with Flows(lab.host("client-a").popen, 3) as orphans, Flows(lab.host("client-b").popen, 2) as living:
        lab.fault("kill", "nat-a")
        cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 5)
        for number, loose in enumerate((0, 1)):
            sysctl(cluster, "nf_conntrack_tcp_loose", loose)
            word, seconds = orphans.send(number)
            assert word == RESET and seconds < 1, (loose, word, seconds)
        living.stray(0)
        assert living.send(0)[0] == ECHOED, "a packet out of its window is no orphan"
        # That is what nf_conntrack_tcp_be_liberal is for; without it this very packet costs the connection.
        sysctl(cluster, "nf_conntrack_tcp_be_liberal", 0)
        living.stray(1)
        assert living.send(1)[0] == RESET
        assert living.send(0)[0] == ECHOED


def sysctl(cluster: Cluster, name: str, value: int) -> None:
    cluster.lab.exec("nat-b", ["sysctl", "--write", f"net.netfilter.{name}={value}"])


def fence_marks(cluster: Cluster) -> list[str]:
    """The values of all fence tags in EC2."""
    found = cluster.lab.client().describe_tags(Filters=[{"Name": "key", "Values": ["nat-failover:fence"]}])
    return [tag["Value"] for tag in found["Tags"]]


def test_route_mode_takes_routes_and_stops_nobody(tmp_path, request) -> None:  # type: ignore[no-untyped-def]
    from tests.integration.e2e.cluster import running_cluster

    with running_cluster(tmp_path, settings={"mode": "route"}) as cluster:
        cluster.lab.fault("kill", "nat-a")
        cluster.wait("nat-b owns zone a", lambda: cluster.lab.owner("a") == "nat-b", 5)
        time.sleep(8)
        assert cluster.writes() == [("ReplaceRoute", "nat-b")]


def test_drain_loses_no_packet_and_resume_brings_the_route_home(cluster: Cluster) -> None:
    lab = cluster.lab
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        drained = cluster.run("nat-a", "drain", "--wait", "10", "--reason", "kernel update")
        assert (drained.returncode, drained.stdout) == (0, "drained\n"), drained.stderr
        assert lab.owner("a") == "nat-b"
        time.sleep(0.3)
        resumed = cluster.run("nat-a", "resume")
        assert (resumed.returncode, resumed.stdout) == (0, "active\n"), resumed.stderr
        cluster.wait("the route is home again", lambda: lab.owner("a") == "nat-a")
        time.sleep(0.3)
    assert stream.result().packets_lost <= 1
    assert [action for action, _caller in cluster.writes()] == ["ReplaceRoute", "ReplaceRoute"]


def test_a_drained_node_may_be_powered_off(cluster: Cluster) -> None:
    assert cluster.run("nat-a", "drain").returncode == 0
    cluster.lab.host("nat-a").power_off()
    time.sleep(8)  # longer than the fence's delay
    assert cluster.writes("StopInstances", "StartInstances") == []
    cluster.lab.host("nat-a").power_on()
    cluster.wait("it is still drained after the boot", lambda: cluster.status("nat-a")["state"] == "drained")
    assert cluster.lab.owner("a") == "nat-b"
    assert cluster.run("nat-a", "resume").returncode == 0
    cluster.wait("the route is home again", lambda: cluster.lab.owner("a") == "nat-a")


def test_a_drain_that_nobody_could_take_is_refused_and_changes_nothing(cluster: Cluster) -> None:
    assert cluster.run("nat-a", "drain").returncode == 0
    cluster.wait("nat-b knows", lambda: cluster.status("nat-b")["verdicts"][0]["state"] == "drained")
    refused = cluster.run("nat-b", "drain")
    assert refused.returncode == 1
    assert "no peer can take over now: nat-a is healthy, drained" in refused.stderr
    assert cluster.status("nat-b")["state"] == "active" and cluster.lab.owner("a") == "nat-b"
