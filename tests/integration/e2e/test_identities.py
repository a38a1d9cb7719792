# SPDX-License-Identifier: GPL-3.0-or-later
"""An identity moves with the claims of its node: connections go on in the other zone, from the same public address and port."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab.fabric.names import INTERFACE
from lab.traffic.driver import SENDERS, Seen, Traffic, changes
from tests.integration.e2e.cluster import Cluster, running_cluster
from tests.integration.e2e.identities import allow, carries, holder, running_identities

pytestmark = pytest.mark.timeout(600)  # a cluster with traffic of all kinds takes a minute to begin on a busy machine

IDENTITY, HEIR = "203.0.113.60", "203.0.113.11"  # the Elastic IP of zone a, and the public address of nat-b itself
CLIENTS_SEND = (*SENDERS, "udp", "icmp")
FRESH_S = 0.02
SELDOM_S = 0.2  # between two looks at the traffic: each of them hands over all connections since the beginning


def traffic(cluster: Cluster, kinds: tuple[str, ...] = CLIENTS_SEND, **options: float) -> Traffic:
    """Of a client of zone a, with a new connection every so often."""
    return Traffic(cluster.lab.host("client-a").popen, cluster.lab.names, kinds=kinds, every_s=FRESH_S, **options)  # type: ignore[arg-type]


def began(cluster: Cluster, running: Traffic) -> Seen:
    """Wait until all flows do, under the identity."""
    cluster.wait("traffic", lambda: all(flow.count > 5 for flow in running.seen().flows.values()), every=SELDOM_S)
    seen = running.seen()
    assert {seen.flows[kind].peer.partition(":")[0] for kind in SENDERS if kind in seen.flows} <= {IDENTITY}
    cluster.wait("new connections", lambda: IDENTITY in addresses(running.seen(), 0.0), every=SELDOM_S)
    return seen


def go_on(cluster: Cluster, running: Traffic, *kinds: str, seconds: float = 20.0) -> None:
    """Wait until these flows do, and none of them has ended."""

    def alive() -> bool:
        flows = running.seen().flows
        return all(flows[kind].alive() for kind in kinds)

    try:
        cluster.wait("flows go on", alive, seconds, every=SELDOM_S)
    except AssertionError as error:
        raise AssertionError(f"{running.seen().flows}\n{error}") from error


def addresses(seen: Seen, since: float) -> list[str]:
    """The addresses of new connections, in their order, each change once."""
    return [each.address for each in changes(each for each in seen.opened if each.begun > since)]


def leaves_under(cluster: Cluster, running: Traffic, address: str, since: float) -> None:
    """Wait until new connections have an address."""
    what = f"new connections under {address}"
    cluster.wait(what, lambda: addresses(running.seen(), since)[-1:] == [address], every=SELDOM_S)


def follows_its_route(cluster: Cluster, node: str) -> None:
    """The node asked for the Elastic IP once EC2 had answered its write of the route: not before, and once."""
    last = {
        action: [call for call in cluster.lab.calls(action=action) if call.ok and call.caller == node]
        for action in ("ReplaceRoute", "AssociateAddress")
    }
    [moved] = last["AssociateAddress"]
    assert last["ReplaceRoute"][-1].time <= moved.received


@pytest.mark.parametrize("delay_s", [pytest.param(0.0, marks=pytest.mark.nightly), 5.0])
def test_a_node_dies_and_comes_back(tmp_path: Path, delay_s: float) -> None:
    """Nothing that sends is lost on either way, on the way home no silent client either, and nobody waits to open a connection."""
    with running_identities(tmp_path, delay_s=delay_s) as cluster, traffic(cluster) as running:
        began(cluster, running)
        lab = cluster.lab
        killed = lab.fault("kill", "nat-a")
        cluster.wait("the identity is at nat-b", lambda: carries(cluster, "a", "nat-b"), 30)
        assert holder(cluster, "a") == ("nat-b", cluster.lab.egress["a"].waiting["b"]) and lab.owner("a") == "nat-b"
        go_on(cluster, running, *CLIENTS_SEND)
        [moved] = [call.time for call in lab.calls(action="AssociateAddress", since=killed) if call.ok]
        leaves_under(cluster, running, IDENTITY, killed)
        seen = running.seen()
        first = min(each.ended for each in seen.opened if each.begun > killed and each.ended is not None)
        assert addresses(seen, killed) == [HEIR, IDENTITY]
        assert first < moved + 2 and seen.outage_ms(first) < 2000, "new connections never wait for the Elastic IP"
        at_heir = ("push", *SENDERS)
        with traffic(cluster, at_heir, serve=False) as later:
            began(cluster, later)
            cluster.wait("nat-a takes its route back", lambda: lab.owner("a") == "nat-a", 60)
            cluster.wait("the identity is at home", lambda: carries(cluster, "a", "nat-a"), 30)
            for each, kinds in ((running, CLIENTS_SEND), (later, at_heir)):
                go_on(cluster, each, *kinds)
        assert cluster.writes("AssociateAddress") == [("AssociateAddress", "nat-b"), ("AssociateAddress", "nat-a")]
        cluster.settle()


def test_a_node_stands_still_for_a_while(tmp_path: Path) -> None:
    """The frozen one does not know what it has lost, and takes it back in the ordinary way."""
    with running_identities(tmp_path, settings={"mode": "route"}) as cluster, traffic(cluster) as running:
        began(cluster, running)
        cluster.lab.fault("freeze", "nat-a")
        cluster.wait("the identity is at nat-b", lambda: carries(cluster, "a", "nat-b"), 30)
        go_on(cluster, running, *CLIENTS_SEND)
        cluster.lab.fault("thaw", "nat-a")
        cluster.wait("the identity is at home", lambda: carries(cluster, "a", "nat-a"), 60)
        go_on(cluster, running, *CLIENTS_SEND)
        cluster.settle()


@pytest.mark.parametrize("order", [("drain",), ("switchover", "--to", "nat-b")])
def test_a_planned_move_costs_no_connection(tmp_path: Path, order: tuple[str, ...]) -> None:
    """Also not those of clients that only listen, and not one of many: there and back.

    A client that only listens acknowledges within 40 ms. The Elastic IP needs longer than that, as it does at AWS.
    """
    many = 500
    with running_identities(tmp_path) as cluster, traffic(cluster, ("push", *CLIENTS_SEND), held=many) as running:
        cluster.lab.fault("api", action="AssociateAddress", delay_ms=80)
        began(cluster, running)
        done = cluster.run("nat-a", *order, "--wait", "15")
        assert done.returncode == 0, done.stderr
        cluster.wait("the identity is at nat-b", lambda: carries(cluster, "a", "nat-b"), 30)
        go_on(cluster, running, "push", *CLIENTS_SEND)
        held = running.ask_held(500)
        assert (held["alive"], held["reset"]) == (many, 0)
        follows_its_route(cluster, "nat-b")
        assert cluster.run("nat-a", "resume").returncode == 0
        cluster.wait("the identity is at home", lambda: carries(cluster, "a", "nat-a"), 30)
        follows_its_route(cluster, "nat-a")
        go_on(cluster, running, "push", *CLIENTS_SEND)
        held = running.ask_held(500)
        assert (held["alive"], held["reset"]) == (many, 0)
        assert not any(flow.error for flow in running.seen().flows.values())
        assert cluster.writes("StopInstances") == []


def test_an_heir_dies_too(tmp_path: Path) -> None:
    """While it carries the identity of another node: a third one takes that up, and its own."""
    with running_identities(tmp_path, zones=("a", "b", "c")) as cluster, traffic(cluster) as running:
        began(cluster, running)
        cluster.lab.fault("kill", "nat-a")
        cluster.wait("the identity moves", lambda: holder(cluster, "a")[0] in ("nat-b", "nat-c"), 20)
        heir = holder(cluster, "a")[0]
        third = "nat-b" if heir == "nat-c" else "nat-c"
        cluster.wait("and is carried", lambda: carries(cluster, "a", heir), 30)
        go_on(cluster, running, *CLIENTS_SEND)
        cluster.lab.fault("kill", heir)
        for zone in ("a", heir[-1]):
            cluster.wait(f"{third} carries {zone}", lambda zone=zone: carries(cluster, zone, third), 30)  # type: ignore[misc]
        go_on(cluster, running, *CLIENTS_SEND)


def test_without_the_permission_routes_move_all_the_same(tmp_path: Path) -> None:
    """It costs the identity: its connections are reset in the end, so that clients make new ones."""
    with running_identities(tmp_path, settings={"mode": "route"}) as cluster, traffic(cluster, ("echo",)) as running:
        began(cluster, running)
        with cluster.lab.api.lock:
            allow(cluster, "AssociateAddress")
        killed = cluster.lab.fault("kill", "nat-a")
        cluster.wait("nat-b owns zone a", lambda: cluster.lab.owner("a") == "nat-b", 5)
        leaves_under(cluster, running, HEIR, killed)
        cluster.wait("named", lambda: "allow ec2:AssociateAddress" in cluster.log.read_text(encoding="utf-8"))
        assert holder(cluster, "a")[0] == "nat-a"
        cluster.wait("a reset", lambda: running.seen().flows["echo"].error == "ConnectionResetError", 40, SELDOM_S)
        assert cluster.lab.owner("a") == "nat-b" and addresses(running.seen(), killed) == [HEIR]


@pytest.mark.parametrize(("mode", "alive"), [("accepting", CLIENTS_SEND), ("syn", ("udp", "icmp"))])
def test_security_groups_that_track(tmp_path: Path, mode: str, alive: tuple[str, ...]) -> None:
    """One that insists on a SYN ends TCP connections, and nothing else. New ones are no matter of it."""
    with running_identities(tmp_path) as cluster, traffic(cluster) as running:
        cluster.lab.fault("group", "nat-b", mode=mode)
        began(cluster, running)
        killed = cluster.lab.fault("kill", "nat-a")
        cluster.wait("the identity is at nat-b", lambda: carries(cluster, "a", "nat-b"), 30)
        go_on(cluster, running, *alive)
        leaves_under(cluster, running, IDENTITY, killed)
        time.sleep(2)
        assert not [kind for kind in CLIENTS_SEND if kind not in alive and running.seen().flows[kind].alive()]


def test_nothing_of_it_without_it(tmp_path: Path) -> None:
    """Without identities, rules and calls are those of before there were any."""
    networks = "10.0.0.0/16"
    with running_cluster(tmp_path, helpers=True) as cluster:
        cluster.lab.fault("kill", "nat-a")
        cluster.wait("nat-b owns zone a", lambda: cluster.lab.owner("a") == "nat-b", 5)
        saved = cluster.lab.exec("nat-b", ["iptables-save"]).stdout.splitlines()
        assert [line for line in saved if line.startswith("-A NAT-FAILOVER-POSTROUTING")] == [
            f"-A NAT-FAILOVER-POSTROUTING -d {networks} -j RETURN",
            f"-A NAT-FAILOVER-POSTROUTING -s {networks} -o {INTERFACE} -j MASQUERADE",
        ]
        unknown = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate INVALID,NEW"
        assert [line for line in saved if line.startswith("-A NAT-FAILOVER-FORWARD")] == [
            f"-A NAT-FAILOVER-FORWARD -d 169.254.0.0/16 -i {INTERFACE} -j DROP",
            f"-A NAT-FAILOVER-FORWARD -s {networks} -i {INTERFACE} -o {INTERFACE} -m conntrack --ctstate ESTABLISHED -j ACCEPT",
            f"-A NAT-FAILOVER-FORWARD -d {networks} -i {INTERFACE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            f"-A NAT-FAILOVER-FORWARD -d {networks} -o {INTERFACE} -j RETURN",
            f"-A NAT-FAILOVER-FORWARD -s {networks} -o {INTERFACE} {unknown} -j REJECT --reject-with tcp-reset",
            f"-A NAT-FAILOVER-FORWARD -s {networks} -o {INTERFACE} -j ACCEPT",
        ]
        assert cluster.writes("DescribeAddresses", "AssociateAddress") == []
        assert cluster.status("nat-b")["identities"] == []
