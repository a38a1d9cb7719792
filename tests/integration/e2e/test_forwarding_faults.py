# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that looks alive and does not NAT: each fault for real, and what becomes of it. The figures are made by benchmarks/faults.py."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from benchmarks.faults import FAULTS, NODE, PEER, SETTINGS, Fault, events, kinds, on_node, suffer
from tests.integration.e2e.cluster import Cluster, running_cluster


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster with canary and root helper for all faults, each of which leaves it as it was."""
    with running_cluster(tmp_path_factory.mktemp("faults"), settings=SETTINGS, helpers=True) as running:
        yield running


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_ends_by_itself_and_nobody_is_stopped(broken: Cluster, fault: Fault) -> None:
    outcome = suffer(broken, fault)
    assert outcome.ends == fault.ends
    assert fault.says in outcome.said
    assert outcome.fences == 0
    assert outcome.outage_ms < 8000, "about 2 s on a quiet machine"


def test_the_canary_asks_over_tcp_udp_and_icmp(broken: Cluster) -> None:
    """All three must answer, so each of them alone is missed."""
    targets = ["198.51.100.11:443", "udp://198.51.100.12:53", "icmp://198.51.100.10"]
    reconfigure(broken, canary={"targets": targets, "minimum": 3}, self_check={"targets": targets, "minimum": 3})
    broken.settle()
    for protocol, target in (("udp", targets[1]), ("icmp", targets[2])):
        on_node(f"iptables -I FORWARD 1 -p {protocol} -j DROP")(broken)
        broken.wait(f"{target} is missed", lambda wanted=target: wanted in broken.status(NODE)["self"]["fact"])
        on_node(f"iptables -D FORWARD -p {protocol} -j DROP")(broken)
        broken.wait("it answers again", lambda: broken.status(NODE)["self"]["canary"] == "answered")
    reconfigure(broken)
    broken.settle()


def reconfigure(cluster: Cluster, **changes: object) -> None:
    """What an operator does: another configuration, and a reload."""
    known = len(cluster.events(NODE, "reloaded"))
    cluster.write_config(NODE, **changes)
    cluster.service(NODE).send_signal(signal.SIGHUP)
    cluster.wait("it is taken over", lambda: len(cluster.events(NODE, "reloaded")) == known + 1)


def test_a_fight_is_told_and_ends_in_a_handover(broken: Cluster) -> None:
    """Last, since the helper does not mend the rules any more after it."""
    known = len(events(broken))
    deadline = time.monotonic() + 20
    while broken.lab.owner("a") == NODE and time.monotonic() < deadline:
        on_node("iptables -t nat -F POSTROUTING")(broken)
        time.sleep(0.7)
    assert broken.lab.owner("a") == PEER
    seen = kinds(broken, known)
    assert seen.count("fight") == 1 and seen.count("mended") <= 3
    assert "undone again" in broken.status(NODE)["self"]["fact"]
    assert broken.run(NODE, "rules", "apply").returncode == 0
    broken.settle()


def test_a_node_whose_canary_ended_says_so_and_goes_on(broken: Cluster) -> None:
    canary, _repair = broken.helpers(NODE)
    canary.terminate()
    canary.wait(timeout=10)
    broken.wait("it is told", lambda: broken.status(NODE)["self"]["canary"].startswith("not there"))
    assert broken.status(NODE)["self"]["forwarding"]
    links = broken.lab.exec(NODE, ["ip", "-brief", "link"]).stdout
    assert "nfcanary" not in links, "namespace and link go with the process"
    broken.start_helpers(broken.lab.host(NODE))
    broken.wait("it is back", lambda: broken.status(NODE)["self"]["canary"] == "answered")
