# SPDX-License-Identifier: GPL-3.0-or-later
"""The screens of an operator at 3 am, on the nodes of an incident that goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.e2e.cluster import Cluster, running_cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """With canary and root helper, so that a node that is well has no problem at all."""
    with running_cluster(tmp_path, helpers=True) as running:
        running.wait("all is well", lambda: running.run("nat-b", "status").returncode == 0, 15)
        yield running


def test_a_refused_takeover_is_on_the_first_screen_and_the_exit_code_is_critical(cluster: Cluster) -> None:
    """The worst of the nights: a zone is dark, the takeover is refused again and again, and nobody is told."""
    lab, table = cluster.lab, cluster.lab.ids.zones["a"].route_table
    print(cluster.run("nat-b", "status").stdout)
    lab.fault("api", action="ReplaceRoute", error="UnauthorizedOperation", caller="nat-b")
    lab.fault("kill", "nat-a")
    cluster.wait(
        "it was tried again", lambda: [row["attempts"] for row in cluster.status("nat-b")["failures"]] >= [2], 15
    )
    cluster.wait("the dark route is an event", lambda: bool(cluster.events("nat-b", "dark")), 5)
    shown = cluster.run("nat-b", "status")
    print(shown.stdout)
    assert shown.returncode == 2
    assert "DARK for " in shown.stdout.splitlines()[0] and "1 of 2 routes lead nowhere" in shown.stdout.splitlines()[0]
    assert f"! dark: {table} 0.0.0.0/0 (home nat-a) -> nat-a, which is failed" in shown.stdout
    assert "action_refused: " in shown.stdout and "UnauthorizedOperation" in shown.stdout
    assert f"do: allow ec2:ReplaceRoute on route-table {table}" in shown.stdout
    assert f"aws ec2 replace-route --route-table-id {table} --destination-cidr-block 0.0.0.0/0" in shown.stdout
    assert cluster.run("nat-b", "status", "--brief").returncode == 2
    why = cluster.run("nat-b", "explain")
    print(why.stdout)
    assert why.returncode == 0 and f"next: adopt {table} 0.0.0.0/0: nat-a has failed" in why.stdout
    assert "tried " in why.stdout and "a route still targets it" in why.stdout
    assert len(cluster.events("nat-b", "failed")) == 1, "one line for one reason, however often it is tried"
    lab.clear_faults()
    cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 15)
    cluster.wait("nat-a runs again", lambda: lab.host("nat-a").boots == 2, 30)
    cluster.settle()
    cluster.wait("the incident is over", lambda: cluster.status("nat-b")["incident"] is None, 15)
    assert cluster.run("nat-b", "status").returncode == 0
    told = cluster.run("nat-b", "history", "--incident", "last")
    print(told.stdout)
    kinds = [line.split()[2].rstrip(":") for line in told.stdout.splitlines() if line.startswith("  +  ")]
    assert {"verdict", "failed", "dark", "dark_ended", "failed_ended", "adopt", "incident_ended"} <= set(kinds)


def test_the_history_is_there_when_the_service_is_not(cluster: Cluster) -> None:
    cluster.service("nat-b").kill()
    cluster.service("nat-b").wait()
    dead = cluster.run("nat-b", "status")
    assert dead.returncode == 3 and dead.stdout.startswith("UNKNOWN: the service does not run here")
    with (cluster.folder / "nat-b" / "state" / "history.jsonl").open("a", encoding="utf-8") as history:
        history.write('{"kind": "verdict", "te')
    told = cluster.run("nat-b", "history", "--all", "--json")
    found = json.loads(told.stdout)
    assert told.returncode == 0 and found["skipped"] == 1 and found["incidents"]
    last = max(event["seq"] for each in found["incidents"] for event in each["events"])
    cluster.start(cluster.lab.host("nat-b"))
    cluster.settle()
    assert cluster.status("nat-b")["events"][0]["seq"] > last, "the numbers go on"


def test_the_doctor_proves_what_is_well_and_names_what_is_not(cluster: Cluster) -> None:
    well = cluster.run("nat-b", "doctor")
    print(well.stdout)
    # The clock of the machine that runs the lab is no concern of this test.
    assert well.returncode in (0, 1) and "FAIL" not in well.stdout, well.stdout
    for line in ("configuration: 2 nodes", "peer nat-a: heard", "identity: this host is i-", "aws: all permissions"):
        assert f"ok    {line}" in well.stdout
    cluster.lab.fault("api", action="ReplaceRoute", error="UnauthorizedOperation", caller="nat-b")
    ill = cluster.run("nat-b", "doctor")
    print(ill.stdout)
    assert ill.returncode == 2 and "FAIL  aws: " in ill.stdout and "ReplaceRoute" in ill.stdout


def test_a_route_comes_home_at_once_when_an_operator_orders_it(tmp_path: Path) -> None:
    """Without the order it would wait for a minute."""
    with running_cluster(tmp_path, helpers=True, settings={"return": {"after_s": 60, "max_s": 600}}) as cluster:
        order_a_return(cluster)


def order_a_return(cluster: Cluster) -> None:
    cluster.run("nat-a", "drain", "--reason", "kernel update")
    assert cluster.lab.owner("a") == "nat-b"
    why = cluster.status("nat-a")["why"]
    assert why.startswith("kernel update (")
    refused = cluster.run("nat-a", "return")
    assert refused.returncode == 1 and "this node is drained (kernel update" in refused.stderr
    cluster.run("nat-a", "resume")
    back = cluster.run("nat-a", "return", "--reason", "it is up again")
    assert back.returncode == 0, back.stderr
    assert cluster.lab.owner("a") == "nat-a"
    [ordered] = [text for text in cluster.events("nat-a", "ordered") if text.startswith("return")]
    assert ordered.endswith("it is up again")
    foreign = cluster.run("nat-a", "return", cluster.lab.ids.zones["b"].route_table)
    assert foreign.returncode == 1 and "is nat-b; run this there" in foreign.stderr


def test_a_sick_peer_is_stopped_and_started_when_an_operator_orders_it(cluster: Cluster) -> None:
    """By itself the service leaves it alone: it lives, and its routes have moved."""
    lab, boots = cluster.lab, cluster.lab.host("nat-a").boots
    well = cluster.run("nat-b", "fence", "nat-a", "--reason", "a drill", "--yes")
    assert well.returncode == 1 and "nat-a is healthy: only a peer that is not well is fenced" in well.stderr
    lab.exec("nat-a", ["iptables", "-I", "FORWARD", "-j", "DROP"])  # a stranger's rule, which nobody repairs
    cluster.wait("nat-b has zone a", lambda: lab.owner("a") == "nat-b", 20)
    assert cluster.verdict("nat-b", "nat-a") == "sick"
    sure = cluster.run("nat-b", "fence", "nat-a", "--reason", "a drill", "--yes")
    assert sure.returncode == 1 and "nat-a is sick and has not failed: --yes is not enough" in sure.stderr
    assert cluster.events("nat-b", "ordered") == cluster.events("nat-b", "fence") == [], "a refusal changes nothing"
    command = cluster.command("nat-b", "fence", "nat-a", "--reason", "a foreign rule")
    answers = []

    def order() -> bool:
        """The other objections stand: nat-b must have been awake, and nat-a without a flare, for the whole wait of a fence."""
        answers.append(lab.exec("nat-b", command, check=False, env=cluster.environment(), input="nat-a\n"))
        return answers[-1].returncode == 0

    cluster.wait("the order is taken", order, 30)
    done = answers[-1]
    assert all("was silent and without a flare for" in each.stderr for each in answers[:-1]), answers
    assert "Type its name to go on: " in done.stderr and done.stdout.startswith("nat-a ends; this node starts it again")
    cluster.wait("nat-a has booted", lambda: lab.host("nat-a").boots == boots + 1, 30)
    cluster.settle()
    [ordered] = cluster.events("nat-b", "ordered")
    assert ordered.startswith("fence nat-a, by ") and ordered.endswith(": a foreign rule")
    steps = [text.partition(":")[0] for text in cluster.events("nat-b", "fence")]
    assert steps == ["mark nat-a", "stop nat-a", "start nat-a", "unmark nat-a"]
    told = cluster.run("nat-b", "history", "--incident", "last").stdout
    assert "ordered: fence nat-a, by " in told and "stop nat-a: ordered by " in told
    assert cluster.status("nat-b")["fences"]["spent"] == 1
