# SPDX-License-Identifier: GPL-3.0-or-later
"""A third opinion: a node that only watches, and a table in DynamoDB."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.api.calls import Call
from tests.integration.e2e.cluster import WITNESS_TABLE, Cluster, running_cluster

LONG = 14.0  # seconds: beyond both nodes' fence delay (5 s and 5 s more for the second in rank)


def test_a_node_that_only_watches_makes_a_partition_known(tmp_path: Path) -> None:
    with running_cluster(tmp_path, zones=("a", "b", "c"), witnesses=["nat-c"]) as cluster:
        lab = cluster.lab
        assert cluster.status("nat-c")["summary"] == "witness; nat-a healthy, nat-b healthy"
        refused = cluster.run("nat-c", "drain")
        assert refused.returncode == 1 and "owns no claims" in refused.stderr
        refused = cluster.run("nat-c", "rules", "apply")
        assert refused.returncode == 1 and "NATs nothing" in refused.stderr

        # No flare can help here: only the witness knows that both live.
        lab.fault("api", action="CreateTags", error="InternalError")
        lab.fault("cut", "nat-a", peer="nat-b", direction="both")
        cluster.wait("nat-a knows", lambda: cluster.verdict("nat-a", "nat-b") == "partitioned", 5)
        cluster.wait("nat-b knows", lambda: cluster.verdict("nat-b", "nat-a") == "partitioned", 5)
        assert "nat-c reports it as" in next(
            row["evidence"] for row in cluster.status("nat-a")["verdicts"] if row["peer"] == "nat-b"
        )
        time.sleep(LONG)
        assert cluster.writes() == [], "no route has moved, nobody was stopped"
        lab.heal()
        lab.clear_faults()
        cluster.settle()

        lab.fault("kill", "nat-a")
        cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 5)
        assert {call.action for call in lab.calls(caller="nat-c", writes=True)} == set(), "a witness writes nothing"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two zones and a table; each test leaves everything at home."""
    with running_cluster(tmp_path_factory.mktemp("table"), settings=WITNESS_TABLE) as running:
        yield running


def about_the_fence(cluster: Cluster, since: float) -> list[tuple[str, str]]:
    """(action, caller) of the calls that a fence consists of and that took effect, in their order; a repeated one counts once."""
    found: list[tuple[str, str]] = []
    for call in cluster.lab.calls(since=since, writes=True):
        row = (call.action, call.caller)
        if call.ok and _fences(call) and row not in found[-1:]:
            found.append(row)
    return found


def _fences(call: Call) -> bool:
    item = call.parameters.get("Item") or call.parameters.get("Key") or {}
    tags = [value for key, value in call.parameters.items() if key.startswith("Tag.") and key.endswith(".Key")]
    return (
        call.action in ("StopInstances", "StartInstances")
        or tags == ["nat-failover:fence"]
        or dict(item).get("item") == {"S": "fence"}
    )


def test_a_table_makes_a_partition_known(cluster: Cluster) -> None:
    lab = cluster.lab
    assert "witness answers" in cluster.run("nat-a", "status").stdout
    lab.fault("api", action="CreateTags", error="InternalError")  # no flare can help here
    lab.fault("cut", "nat-a", peer="nat-b", direction="both")
    time.sleep(LONG)
    assert cluster.verdict("nat-a", "nat-b") == cluster.verdict("nat-b", "nat-a") == "partitioned"
    assert "its item in the witness table" in "".join(cluster.events("nat-a", "verdict"))
    lab.heal()
    lab.clear_faults()
    cluster.settle()
    assert cluster.writes("StopInstances", "StartInstances") == []
    assert len(cluster.writes()) <= 4, "at worst one swap, and back"


def test_no_fence_without_the_lock_and_one_with_it(cluster: Cluster) -> None:
    lab = cluster.lab
    began = time.monotonic()
    lab.fault("api", action="PutItem", error="ProvisionedThroughputExceededException")
    lab.fault("api", action="Query", error="InternalServerError", status=500)
    lab.fault("kill", "nat-a")
    cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 5)
    time.sleep(LONG)
    assert about_the_fence(cluster, began) == [], "routes move without the table, nobody is stopped"
    assert "no fence is begun" in cluster.run("nat-b", "status").stdout

    lab.clear_faults()
    cluster.wait("nat-a runs again", lambda: lab.host("nat-a").boots == 2, 30)
    cluster.settle()
    cluster.wait("the mark is gone", lambda: about_the_fence(cluster, began)[-1][0] == "DeleteTags", 20)
    assert about_the_fence(cluster, began) == [
        ("PutItem", "nat-b"),
        ("CreateTags", "nat-b"),
        ("StopInstances", "nat-b"),
        ("StartInstances", "nat-b"),
        ("CreateTags", "nat-b"),
        ("DeleteItem", "nat-b"),
        ("DeleteTags", "nat-b"),
    ]
    told = cluster.events("nat-b", "fence")
    assert "lock nat-a: the lock is free" in told and "unlock nat-a: no step of a fence is left" in told
