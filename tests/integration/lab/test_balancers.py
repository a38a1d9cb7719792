# SPDX-License-Identifier: GPL-3.0-or-later
"""Network load balancers with real packets: real health checks decide, and flows go where AWS sends them.

Sources: Network Load Balancer User Guide, by page.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.testing import RunningLab, running_lab
from tests.integration.balanced import Balanced, until


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab() as running:
        yield running


@pytest.fixture
def balanced(lab: RunningLab) -> Iterator[Balanced]:
    """Both nodes serve and are healthy, cross-zone balancing is on."""
    made = Balanced(lab)
    made.quick()
    made.cross_zone()
    servers = [made.serve(node) for node in made.nodes]
    made.register()
    made.wait(nat_a="healthy", nat_b="healthy")
    yield made
    made.remove()
    for server in servers:
        server.kill()
        server.communicate()


def test_health_is_what_the_host_answers(lab: RunningLab) -> None:
    """Page "Health checks": a frozen host and a host whose server is gone each become unhealthy at AWS's shortest interval, and only they."""
    balanced = Balanced(lab)
    servers = {node: balanced.serve(node) for node in balanced.nodes}
    balanced.register()
    assert balanced.states() == {"nat-a": "initial", "nat-b": "initial"}
    balanced.wait(nat_a="healthy", nat_b="healthy")
    lab.fault("freeze", "nat-a")
    balanced.wait(nat_a="unhealthy", nat_b="healthy")
    lab.fault("thaw", "nat-a")
    servers["nat-b"].kill()
    servers["nat-b"].communicate()
    balanced.wait(nat_a="healthy", nat_b="unhealthy")
    balanced.remove()
    servers["nat-a"].kill()
    servers["nat-a"].communicate()


def test_new_flows_spread_over_all_zones_and_keep_the_client_address(balanced: Balanced) -> None:
    """Pages "Cross-zone load balancing" and "Edit target group attributes", client IP preservation: on for instances by default."""
    seen = {balanced.flow("client-a", zone).first for zone in "ab" for _number in range(8)}
    assert seen == {"nat-a 10.0.10.50", "nat-b 10.0.10.50"}


def test_without_cross_zone_each_zone_has_its_own_targets(lab: RunningLab) -> None:
    """Page "Network Load Balancers", cross-zone load balancing: off by default, each node serves the targets of its own zone."""
    balanced = Balanced(lab)
    balanced.quick()
    servers = [balanced.serve(node) for node in balanced.nodes]
    balanced.register()
    balanced.wait(nat_a="healthy", nat_b="healthy")
    assert {zone: balanced.takers("client-a", zone, 6) for zone in "ab"} == {"a": {"nat-a"}, "b": {"nat-b"}}
    balanced.remove()
    for server in servers:
        server.kill()
        server.communicate()


def test_without_client_addresses_a_target_sees_the_balancer(balanced: Balanced) -> None:
    """Page "Edit target group attributes": with preservation off, the source is the balancer's private address."""
    balanced.set(keep_client="false")
    seen = {balanced.flow("client-a", "b").first.split()[1] for _number in range(4)}
    assert seen == {balanced.addresses["b"]}


def test_a_target_cannot_reach_itself_while_client_addresses_are_kept(balanced: Balanced) -> None:
    """Page "Troubleshoot", requests time out from a target to its load balancer: NAT loopback (hairpinning) is not supported."""
    balanced.deregister("nat-b")
    assert balanced.flow("nat-a", "a").node == "TimeoutError"
    assert balanced.flow("client-a", "a").node == "nat-a"
    balanced.set(keep_client="false")
    assert balanced.flow("nat-a", "a").node == "nat-a"


def test_flows_of_an_unhealthy_target_are_reset_and_new_ones_go_elsewhere(balanced: Balanced) -> None:
    """Page "Health checks": a packet on a client's connection with an unhealthy target draws a reset."""
    flows = balanced.flows("client-a", "a")
    balanced.lab.fault("freeze", "nat-a")
    balanced.wait(nat_a="unhealthy", nat_b="healthy")
    until(lambda: balanced.takers("client-a", "a", 4) == {"nat-b"})
    assert {(flow.node, flow.send()) for flow in flows} == {("nat-a", "ConnectionResetError"), ("nat-b", "still")}
    balanced.lab.fault("thaw", "nat-a")
    balanced.wait(nat_a="healthy", nat_b="healthy")
    assert balanced.takers("client-a", "a") == {"nat-a", "nat-b"}


def test_flows_of_an_unhealthy_target_go_on_if_wanted(balanced: Balanced) -> None:
    """Page "Edit target group attributes", connection termination for unhealthy targets: off keeps established flows."""
    balanced.set(end_unhealthy="false")
    flows = balanced.flows("client-a", "a")
    with balanced.lab.api.lock:  # the check fails, and the server does not
        balanced.lab.api.balancers.target_groups[balanced.group].health_check_port = "9"
    balanced.wait(nat_a="unhealthy", nat_b="unhealthy")
    assert {flow.send() for flow in flows} == {"still"}


def test_with_no_healthy_target_flows_go_to_all(balanced: Balanced) -> None:
    """Page "Health checks": a balancer whose targets are all unhealthy fails open, and does not reset their flows."""
    flow = balanced.flow("client-a", "a")
    # The first of the two to be unhealthy would end its flows: the other one is healthy yet.
    balanced.set(end_unhealthy="false")
    with balanced.lab.api.lock:
        balanced.lab.api.balancers.target_groups[balanced.group].health_check_port = "9"
    balanced.wait(nat_a="unhealthy", nat_b="unhealthy")
    balanced.set(end_unhealthy="true")
    assert balanced.takers("client-a", "b") == {"nat-a", "nat-b"}
    assert flow.send() == "still"


@pytest.mark.parametrize(("ends", "then"), [("true", "ConnectionResetError"), ("false", "still")])
def test_a_deregistered_target_keeps_its_flows_for_the_delay(balanced: Balanced, ends: str, then: str) -> None:
    """Page "Edit target group attributes", deregistration delay: no new flow, old ones go on, and end after the delay only if wanted."""
    balanced.set(delay="1", end_deregistered=ends)
    flows = balanced.flows("client-a", "a")
    balanced.deregister("nat-a")
    until(lambda: balanced.takers("client-a", "a", 4) == {"nat-b"})
    assert {flow.send() for flow in flows if balanced.states().get("nat-a") == "draining"} <= {"still"}
    balanced.wait(nat_b="healthy")
    until(lambda: {flow.node: flow.send() for flow in flows} == {"nat-a": then, "nat-b": "still"} or then == "still", 5)
    if then == "still":
        assert {flow.send() for flow in flows} == {"still"}


def test_no_flow_where_no_listener_is(balanced: Balanced) -> None:
    """Page "Listeners": a balancer takes connections on the ports of its listeners only."""
    address = balanced.addresses["a"]
    assert balanced.lab.connect("client-a", address, balanced.port)
    assert not balanced.lab.connect("client-a", address, balanced.port + 1)
    assert not balanced.lab.ping("client-a", address)
