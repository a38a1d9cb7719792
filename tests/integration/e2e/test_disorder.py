# SPDX-License-Identifier: GPL-3.0-or-later
"""Worse than one death: freezes, crashes in mid-takeover, missing permissions, boots at the same time, two deaths of three."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import vpc
from tests.integration.e2e.cluster import Cluster, running_cluster

TABLES = 20


def test_a_frozen_host_comes_back_and_concludes_nothing(cluster: Cluster) -> None:
    lab = cluster.lab
    lab.fault("freeze", "nat-a")
    cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 5)
    time.sleep(1)
    lab.fault("thaw", "nat-a")
    cluster.settle()
    assert cluster.writes() == [("ReplaceRoute", "nat-b"), ("ReplaceRoute", "nat-a")]


def test_a_missing_permission_is_named_and_the_takeover_follows_when_it_is_given(cluster: Cluster) -> None:
    lab = cluster.lab
    lab.fault("api", action="ReplaceRoute", error="UnauthorizedOperation", caller="nat-b")
    lab.fault("kill", "nat-a")
    cluster.wait("nat-b tells", lambda: cluster.events("nat-b", "failed") != [], 5)
    table = lab.ids.zones["a"].route_table
    assert f"allow ec2:ReplaceRoute on route-table {table}" in cluster.events("nat-b", "failed")[0]
    time.sleep(6)  # beyond the fence's delay
    assert lab.owner("a") == "nat-a" and ("StopInstances", "nat-b") not in cluster.writes(), "the route first"
    lab.clear_faults()
    cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 15)


def test_nodes_that_boot_at_the_same_time_leave_each_other_alone(cluster: Cluster) -> None:
    hosts = [cluster.lab.host(name) for name in ("nat-a", "nat-b")]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: host.reboot(hard=True), hosts))
    cluster.settle()
    time.sleep(2)
    assert cluster.writes() == []


def test_a_crash_in_the_middle_of_a_takeover_of_many_tables_heals(cluster: Cluster) -> None:
    lab = cluster.lab
    with lab.api.lock:
        tables = vpc.add_route_tables(TABLES - 1, lab.ids.zones["a"])
    cluster.settings["nodes"] = [
        {
            "name": zone.node,
            "instance_id": zone.instance_id,
            "route_tables": [zone.route_table, *(tables if letter == "a" else [])],
        }
        for letter, zone in lab.ids.zones.items()
    ]
    for node in ("nat-a", "nat-b"):
        cluster.write_config(node)
        cluster.service(node).send_signal(signal.SIGHUP)
        cluster.wait("reloaded", lambda node=node: len(cluster.status(node)["claims"]) == TABLES + 1)  # type: ignore[misc]
    mine = lab.ids.zones["b"].interface_id
    wanted = [lab.ids.zones["a"].route_table, *tables]
    lab.fault("api", action="ReplaceRoute", burst=TABLES / 2, rate=0.01)  # EC2 itself stops the takeover half-way
    lab.fault("kill", "nat-a")
    cluster.wait("some have moved", lambda: any(lab.target(table) == mine for table in wanted), 5)
    cluster.service("nat-b").kill()
    cluster.service("nat-b").wait()
    moved = sum(lab.target(table) == mine for table in wanted)
    assert 0 < moved < TABLES, "it crashed in the middle"
    lab.clear_faults()
    cluster.start(lab.host("nat-b"))
    cluster.wait("all have moved", lambda: all(lab.target(table) == mine for table in wanted), 20)


def test_three_nodes_lose_one_and_then_a_second(tmp_path: Path) -> None:
    with running_cluster(tmp_path, settings={"mode": "route"}, zones=("a", "b", "c")) as cluster:
        lab = cluster.lab
        with lab.stream("client-a") as stream:
            stream.wait_for_answer()
            lab.fault("kill", "nat-a")
            cluster.wait("an heir has zone a", lambda: lab.owner("a") in ("nat-b", "nat-c"), 5)
            first = lab.owner("a")
            time.sleep(1)
            lab.fault("kill", str(first))
            last = "nat-c" if first == "nat-b" else "nat-b"
            cluster.wait("the last one has all", lambda: {lab.owner(z) for z in "abc"} == {last}, 20)
            stream.wait_for_answer()
            lab.heal()
            cluster.settle()
            stream.wait_for_answer()
        assert cluster.writes("StopInstances") == []
