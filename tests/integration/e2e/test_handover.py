# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand-over before the end: what EC2 announces, and orderly stops. The peer takes over before anything breaks, and punishes nobody."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.service.sender import send_request
from tests.integration.e2e.cluster import Cluster, running_cluster

FENCE = 8.0  # seconds: longer than the fence's delay
POWER = ("StopInstances", "StartInstances", "RebootInstances")


def taken(cluster: Cluster, why: str, seconds: float = 5) -> None:
    """nat-a says why it drains, and nat-b owns its claim."""
    cluster.wait("nat-b owns zone a", lambda: cluster.lab.owner("a") == "nat-b", seconds)
    cluster.wait("nat-a knows", lambda: cluster.status("nat-a")["state"] == "drained")
    status = cluster.status("nat-a")
    assert why in status["why"] and why in status["summary"]


def home(cluster: Cluster) -> None:
    cluster.wait("the route is home again", lambda: cluster.lab.owner("a") == "nat-a", 10)


def test_a_spot_node_hands_over_before_ec2_takes_it(cluster: Cluster) -> None:
    lab = cluster.lab
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        lab.fault("notice", "nat-a", what="spot", action="terminate")
        taken(cluster, "spot interruption: terminate at")
        cluster.wait(
            "nat-b hears that it has left", lambda: cluster.status("nat-b")["verdicts"][0]["state"] == "drained", 2
        )
        assert cluster.verdict("nat-b", "nat-a") == "healthy"
        time.sleep(0.3)
        lab.client().terminate_instances(InstanceIds=[lab.ids.zones["a"].instance_id])
        cluster.wait("nat-a is off", lambda: lab.host("nat-a").state == "off", 10)
        time.sleep(FENCE)
        stream.wait_for_answer()
    assert stream.result().packets_lost <= 1
    assert cluster.writes(*POWER) == []
    assert cluster.verdict("nat-b", "nat-a") == "failed", "and stays so, without a word of a fence"
    assert cluster.events("nat-b", "fence") == []


def test_notices_are_reported_obeyed_as_configured_and_withdrawn(tmp_path: Path) -> None:
    settings = {"handover": {"poll_s": 0.5, "rebalance": "drain", "scheduled_lead_s": 60}}
    with running_cluster(tmp_path, settings=settings) as cluster:
        lab = cluster.lab
        with lab.stream("client-a") as stream:
            stream.wait_for_answer()
            lab.fault("notice", "nat-a", what="scheduled", code="system-reboot", in_s=3600)
            cluster.wait("it is told", lambda: "system-reboot" in str(cluster.status("nat-a")["notices"]))
            assert cluster.status("nat-a")["state"] == "active", "an hour ahead, it is only told"
            lab.fault("notice", "nat-a", what="scheduled", code="instance-stop", in_s=30)
            taken(cluster, "instance-stop scheduled for")
            lab.fault("notice", "nat-a", what="none")
            home(cluster)
            lab.fault("notice", "nat-a", what="rebalance")
            taken(cluster, "rebalance recommended")
            tags = lab.client().describe_tags(Filters=[{"Name": "key", "Values": ["nat-failover:drained"]}])["Tags"]
            assert tags == [], "a notice must not outlive a reboot"
            assert cluster.run("nat-a", "resume").stdout == "active\n", "the operator's word is the stronger one"
            home(cluster)
            lab.fault("notice", "nat-a", what="asg", state="Terminated")
            taken(cluster, "Auto Scaling: Terminated")
        assert stream.result().packets_lost <= 5, "five hand-overs"
        assert {action for action, _caller in cluster.writes()} == {"ReplaceRoute"}
        told = cluster.events("nat-a", "notice")
        assert sum(text.startswith("no more: ") for text in told) == 2


def test_the_last_node_that_forwards_takes_over_even_with_a_notice(cluster: Cluster) -> None:
    lab = cluster.lab
    lab.fault("notice", "nat-a", what="spot", action="stop")
    taken(cluster, "spot interruption")
    lab.fault("kill", "nat-b")
    cluster.wait("nat-a owns both zones", lambda: lab.owner("a") == lab.owner("b") == "nat-a", 15)
    cluster.wait("nat-b runs again", lambda: lab.host("nat-b").boots == 2, 30)
    cluster.wait("nat-b owns both zones", lambda: lab.owner("a") == lab.owner("b") == "nat-b", 20)


def test_a_shutdown_hands_over_first_and_a_node_without_heirs_leaves_at_once(cluster: Cluster) -> None:
    lab = cluster.lab
    run = str(cluster.folder / "nat-a" / "run")
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        assert send_request(run, {"do": "leave"}) == {"changed": True, "state": "drained"}
        assert lab.owner("a") == "nat-b"
        lab.host("nat-a").power_off()
        time.sleep(FENCE)
        lab.host("nat-a").power_on()
        home(cluster)
    assert stream.result().packets_lost <= 2
    assert cluster.writes() == [("ReplaceRoute", "nat-b"), ("ReplaceRoute", "nat-a")]
    assert cluster.run("nat-b", "drain").returncode == 0
    cluster.wait("nat-a knows", lambda: cluster.status("nat-a")["verdicts"][0]["state"] == "drained")
    began = time.monotonic()
    with pytest.raises(NatFailoverError, match="no peer takes over: nat-b is healthy, drained"):
        send_request(run, {"do": "leave"})
    assert time.monotonic() - began < 2
    assert "this machine shuts down, and no peer takes over" in cluster.events("nat-a", "abandoned")[0]
    assert cluster.run("nat-a", "leave").stdout == "this machine does not shut down: nothing is handed over\n"


def test_a_stop_of_the_service_hands_over_if_that_is_asked_for(tmp_path: Path) -> None:
    with running_cluster(tmp_path, settings={"handover": {"on_stop": "drain", "wait_s": 5}}) as cluster:
        lab = cluster.lab
        with lab.stream("client-a") as stream:
            stream.wait_for_answer()
            service = cluster.service("nat-a")
            service.terminate()
            assert service.wait(timeout=10) == 0
            assert lab.owner("a") == "nat-b"
            cluster.start(lab.host("nat-a"))
            home(cluster)
        assert stream.result().packets_lost <= 2
        assert cluster.writes() == [("ReplaceRoute", "nat-b"), ("ReplaceRoute", "nat-a")]
