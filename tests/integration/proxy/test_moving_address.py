# SPDX-License-Identifier: GPL-3.0-or-later
"""The address that moves: a proxy dies alone, and its /32 goes to a node where the proxy works. The default route stays, and nobody is fenced.

The real service ``nat-failover``, the real engine, guard and health check, and real packets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab import downloads
from tests.integration.proxy.moving import WITHIN_S, Planner, Served, running_served
from tests.integration.proxy.seen import PUBLIC, Request, ended


@pytest.fixture
def served(planner: Planner) -> Iterator[Served]:
    with running_served(planner) as cluster:
        yield cluster


def at(served: Served, zone: str, node: str) -> None:
    """Wait until clients of a zone find a node at the address."""
    served.wait(f"{node} has the address for zone {zone}", lambda: served.address_of(zone) == node, WITHIN_S)


def only_the_address_moved(served: Served) -> None:
    """Of two moves of the address in zone a, there and back, nothing else is in EC2."""
    assert served.writes()[-2:] == [("ReplaceRoute", "nat-b"), ("ReplaceRoute", "nat-a")]
    assert not [action for action, _caller in served.writes() if action.endswith("Instances")]
    assert served.lab.host("nat-a").boots == 1


def answered_by(seen: list[Request], since: float) -> set[str]:
    """The public addresses that the web server saw for the requests from a moment on."""
    return {each.text for each in seen if since < each.begun and each.ok}


def test_a_dead_proxy_moves_its_address_and_nothing_else(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(served.writes())
    with served.lab.stream("client-a") as stream:
        stream.wait_for_answer()
        users = {host: served.requests(host) for host in ("client-a", "client-b")}
        time.sleep(1)
        killed = time.monotonic()
        served.nodes.kill_engine("nat-a")
        at(served, "a", "nat-b")
        moved = time.monotonic()
        assert served.lab.owner("a") == "nat-a", "the default route stays where NAT works"
        served.wait("both say so", lambda: all(served.problems(node) == ["proxy on nat-a"] for node in PUBLIC))
        assert served.verdict("nat-b", "nat-a") == "healthy"
        assert served.status("nat-a")["can_act"]
        time.sleep(2 * downloads.LIMIT_S)
        served.nodes.start_engine(served.lab.host("nat-a"))
        repaired = time.monotonic()
        at(served, "a", "nat-a")
        home = time.monotonic()
        served.wait("nobody names a problem", lambda: not any(served.problems(node) for node in PUBLIC), WITHIN_S)
        time.sleep(2 * downloads.LIMIT_S)
        seen = {host: ended(process) for host, process in users.items()}
        stream.wait_for_answer()
    failed = [each for each in seen["client-a"] if not each.ok]
    with capsys.disabled():
        print(
            f"\n  proxy killed: the address moved after {moved - killed:.1f} s, {len(failed)} of {len(seen['client-a'])} "
            f"requests failed; it was home {home - repaired:.1f} s after the repair"
        )
    # A machine that is busy may let a request wait for longer than the client does: that is no matter of this test.
    between = [each for each in seen["client-a"] if moved + downloads.LIMIT_S < each.begun < repaired]
    assert {each.text for each in between if each.ok} == {PUBLIC["nat-b"]}
    assert sum(each.ok for each in between) > len(between) / 2
    assert PUBLIC["nat-a"] in answered_by(seen["client-a"], home)
    assert answered_by(seen["client-b"], 0.0) == {PUBLIC["nat-b"]}, "zone b never noticed"
    assert stream.result().packets_lost == 0, "NAT never noticed"
    assert len(served.writes()) == before + 2
    only_the_address_moved(served)


def test_a_drained_proxy_gives_its_address_away_and_gets_it_back(served: Served) -> None:
    served.nodes.health("nat-a", "drain")
    at(served, "a", "nat-b")
    assert "drained by an operator" in served.services("nat-a")["problem"]
    assert "does not work" in served.run("nat-b", "explain").stdout + served.run("nat-a", "explain").stdout
    served.nodes.health("nat-a", "resume")
    at(served, "a", "nat-a")
    only_the_address_moved(served)


def test_nothing_moves_to_a_node_without_a_proxy(served: Served) -> None:
    served.nodes.kill_engine("nat-b")
    at(served, "b", "nat-a")
    writes = served.writes()
    served.nodes.kill_engine("nat-a")
    served.wait("nat-a knows", lambda: not served.services("nat-a")["well"], WITHIN_S)
    served.wait("nat-b knows", lambda: "proxy on nat-a" in served.problems("nat-b"), WITHIN_S)
    time.sleep(3)
    assert (served.address_of("a"), served.address_of("b")) == ("nat-a", "nat-a")
    assert served.writes() == writes
    served.nodes.start_engine(served.lab.host("nat-b"))
    for zone in ("a", "b"):
        at(served, zone, "nat-b")
    assert (served.lab.owner("a"), served.lab.owner("b")) == ("nat-a", "nat-b")


def test_the_service_that_moves_the_address_is_stopped_and_the_proxy_serves_on(served: Served) -> None:
    """The route stays where it is, and the proxy is no part of the service."""
    writes = served.writes()
    user = served.requests("client-a")
    time.sleep(1)
    served.service("nat-a").terminate()
    served.service("nat-a").wait(20)
    time.sleep(5)
    seen = ended(user)
    assert (served.address_of("a"), served.writes()) == ("nat-a", writes)
    assert {each.text for each in seen} == {PUBLIC["nat-a"]} and len(seen) > 20


@pytest.mark.parametrize("fault", ["kill", "freeze", "uplink"])
def test_a_node_fails_and_clients_go_on(served: Served, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All that the node serves goes to the other one, and clients of the other zone notice nothing."""
    users = {host: served.requests(host) for host in ("client-a", "client-b")}
    time.sleep(1)
    begin = time.monotonic()
    served.lab.fault(fault, "nat-a")
    at(served, "a", "nat-b")
    moved = time.monotonic()
    time.sleep(3 * downloads.LIMIT_S)
    seen = {host: ended(process) for host, process in users.items()}
    outage = downloads.outage_ms(seen["client-a"], begin)
    with capsys.disabled():
        print(f"\n  {fault}: downloads again after {outage or 0:.0f} ms, the address moved after {moved - begin:.1f} s")
    between = [each for each in seen["client-a"] if each.begun > moved + downloads.LIMIT_S]
    assert {each.text for each in between if each.ok} == {PUBLIC["nat-b"]}
    assert sum(each.ok for each in between) > len(between) / 2
    assert answered_by(seen["client-b"], 0.0) == {PUBLIC["nat-b"]}
    assert served.lab.owner("a") == "nat-b", "NAT goes with it"
