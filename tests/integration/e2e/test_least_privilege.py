# SPDX-License-Identifier: GPL-3.0-or-later
"""The service under nothing but the policy that ``aws_ha.egress.iam_policy`` makes, with IAM enforced; and with a part of it removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab import vpc
from lab.api import backend
from lab.fabric import netns
from tests.integration import generated_policy
from tests.integration.e2e.cluster import QUICK, WITNESS_TABLE, Cluster, running_cluster


def generated(cluster: Cluster) -> dict[str, Any]:
    """The policy, from the ids of the lab."""
    return generated_policy.document(cluster.lab.ids, witness_table="witness")


def apply(cluster: Cluster, *without: str) -> None:
    """Give it to both roles, if wanted without some actions."""
    document = generated_policy.without(generated(cluster), without)
    with cluster.lab.api.lock:
        generated_policy.attach(cluster.lab.ids, document)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all: each test leaves everything at home."""
    often = {"fence": {**QUICK["fence"], "max_per_hour": 10}, **WITNESS_TABLE}
    with running_cluster(tmp_path_factory.mktemp("iam"), settings=often, enforce_iam=True) as running:
        yield running


def marked(cluster: Cluster) -> bool:
    """Whether an instance still carries the note of a fence: with it, an earlier fence would be continued."""
    with cluster.lab.api.lock:
        every = [backend.tags(cluster.lab.api.model, zone.instance_id) for zone in cluster.lab.ids.zones.values()]
    return any("nat-failover:fence" in tags for tags in every)


@pytest.fixture(autouse=True)
def at_home(cluster: Cluster) -> Iterator[None]:
    """Begin and end with the whole policy."""
    apply(cluster)
    cluster.settle()
    # A mark whose removal was refused while a test's policy was in force is removed at the next try, half a minute later.
    cluster.wait("no fence is under way", lambda: not marked(cluster), 60)
    yield
    cluster.lab.heal()
    for zone in cluster.lab.ids.zones.values():
        netns.sysctl(cluster.lab.host(zone.node).namespace, {"ipv4/ip_forward": "1"})
    apply(cluster)
    cluster.settle()


def online(cluster: Cluster) -> Any:
    """The question of the role before it replaces a configuration."""
    return cluster.run("nat-a", "check-config", "--online")


def test_the_policy_is_enough(cluster: Cluster) -> None:
    assert online(cluster).returncode == 0
    cluster.lab.fault("kill", "nat-b")
    cluster.wait("adopted", lambda: cluster.lab.owner("b") == "nat-a")
    cluster.wait("fenced", lambda: cluster.writes("StartInstances") == [("StartInstances", "nat-a")], 40)
    cluster.wait("returned", lambda: cluster.lab.owner("b") == "nat-b", 40)


@pytest.mark.parametrize("action", ["CreateRoute", "PutItem"])
def test_the_role_names_what_is_missing(cluster: Cluster, action: str) -> None:
    """As the command does it; each of the other permissions: tests/integration/adapter/test_preflight.py and test_witness.py."""
    apply(cluster, action)
    done = online(cluster)
    assert done.returncode != 0
    service = "dynamodb" if action == "PutItem" else "ec2"
    assert f"{service}:{action}" in done.stdout + done.stderr
    others = {"CreateTags", "ReplaceRoute", "StopInstances"}
    assert not any(f"permission ec2:{other} " in done.stdout + done.stderr for other in others)


def told(cluster: Cluster, node: str, words: str) -> bool:
    return any(words in event["text"] for event in cluster.status(node)["events"])


def logged(cluster: Cluster, words: str) -> bool:
    return words in cluster.log.read_text(encoding="utf-8")


def test_no_route_may_be_written(cluster: Cluster) -> None:
    """The survivor cannot help, says so, and neither node is stopped for that; the living zone keeps its internet."""
    apply(cluster, "ReplaceRoute")
    before = cluster.writes("StopInstances")
    cluster.lab.fault("unforward", "nat-b")
    cluster.wait("named", lambda: told(cluster, "nat-a", "allow ec2:ReplaceRoute"))
    assert cluster.lab.owner("b") == "nat-b"
    assert cluster.lab.connect("client-a", "198.51.100.11", 443)
    assert cluster.writes("StopInstances") == before, cluster.log.read_text()[-5000:]


def test_no_route_may_be_made(cluster: Cluster) -> None:
    """A route that somebody has deleted is missed by name; nobody is stopped for it, and it is made as soon as that is allowed."""
    apply(cluster, "CreateRoute")
    before = cluster.writes("StopInstances")
    table = cluster.lab.ids.zones["b"].route_table
    cluster.lab.client().delete_route(RouteTableId=table, DestinationCidrBlock=vpc.DEFAULT_ROUTE)
    cluster.wait("named", lambda: told(cluster, "nat-b", "allow ec2:CreateRoute"))
    assert cluster.lab.owner("b") is None and cluster.lab.owner("a") == "nat-a"
    apply(cluster)
    cluster.wait("made", lambda: cluster.lab.owner("b") == "nat-b", 40)
    assert cluster.writes("StopInstances") == before, cluster.log.read_text()[-5000:]


def test_a_fence_that_may_not_be_ended_is_ended_when_it_may(cluster: Cluster) -> None:
    """Stopped, and not to be started: named, its route stays where packets get out, no second stop; so with the note and the lock of the fence."""
    apply(cluster, "StartInstances", "DeleteTags", "DeleteItem")
    before = len(cluster.writes("StopInstances"))
    cluster.lab.fault("kill", "nat-b")
    cluster.wait("named", lambda: told(cluster, "nat-a", "allow ec2:StartInstances"), 40)
    assert cluster.lab.owner("b") == "nat-a" and cluster.lab.connect("client-b", "198.51.100.11", 443)
    apply(cluster, "DeleteTags", "DeleteItem")
    cluster.wait("home", lambda: cluster.lab.owner("b") == "nat-b", 40)
    cluster.wait("the note is named", lambda: logged(cluster, "allow ec2:DeleteTags on instance"), 20)
    cluster.wait("the lock is named", lambda: logged(cluster, "allow dynamodb:DeleteItem on table witness"), 20)
    assert len(cluster.writes("StopInstances")) == before + 1, cluster.log.read_text()[-5000:]


def test_nobody_may_be_stopped(cluster: Cluster) -> None:
    """Routes move all the same; the fence that is refused is named and not repeated without end."""
    apply(cluster, "StopInstances")
    cluster.lab.fault("kill", "nat-b")
    cluster.wait("adopted", lambda: cluster.lab.owner("b") == "nat-a")
    cluster.wait("named", lambda: told(cluster, "nat-a", "allow ec2:StopInstances"), 40)
    assert cluster.lab.connect("client-b", "198.51.100.11", 443)


def test_no_tag_may_be_written(cluster: Cluster) -> None:
    """Without the shared memory nobody is stopped: the note comes before the stop."""
    apply(cluster, "CreateTags")
    before = cluster.writes("StopInstances")
    cluster.lab.fault("kill", "nat-b")
    cluster.wait("adopted", lambda: cluster.lab.owner("b") == "nat-a")
    cluster.wait("named", lambda: told(cluster, "nat-a", "fence nat-b: ec2:CreateTags"), 40)
    assert cluster.writes("StopInstances") == before, cluster.log.read_text()[-5000:]


@pytest.mark.parametrize("action", ["PutItem", "Query"])
def test_the_witness_table_may_not_be_used(cluster: Cluster, action: str) -> None:
    """Routes move all the same; nobody is stopped without the lock, and the journal says what is missing."""
    apply(cluster, action)
    before = cluster.writes("StopInstances")
    cluster.lab.fault("kill", "nat-b")
    cluster.wait("adopted", lambda: cluster.lab.owner("b") == "nat-a")
    cluster.wait("named", lambda: told(cluster, "nat-a", f"allow dynamodb:{action} on table witness"), 40)
    time.sleep(QUICK["fence"]["after_s"] + 3)  # by now it would have been stopped
    assert cluster.writes("StopInstances") == before, cluster.log.read_text()[-5000:]


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeRouteTables"])
def test_nothing_may_be_read(cluster: Cluster, action: str) -> None:
    """A node that cannot read EC2 takes itself for the suspect: it forwards, says why, and writes nothing."""
    apply(cluster, action)
    before = cluster.writes()
    cluster.wait("named", lambda: logged(cluster, f"allow ec2:{action} on *"))
    cluster.lab.fault("unforward", "nat-b")
    cluster.wait("seen", lambda: cluster.verdict("nat-a", "nat-b") == "sick")
    time.sleep(1)
    assert cluster.writes() == before
    assert cluster.lab.connect("client-a", "198.51.100.11", 443)
