# SPDX-License-Identifier: GPL-3.0-or-later
"""maintenance of nodes that are proxies, too: clients of the load balancer notice nothing of reboots, and what cannot go well is refused."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab import downloads
from lab.fabric.names import WEB_NAME
from tests.integration.balanced import Balanced, until
from tests.integration.fleet.conftest import Fleet

NODES = ("nat-a", "nat-b")
GROUP = {"nat_proxy_hosts": "nat_nodes", "proxy_group": "nat_nodes"}
PROXY = {**GROUP, "proxy_engine": "tinyproxy", "proxy_sources": ["10.0.0.0/16"]}
UNITS = "proxy-health.service proxy-restart.path tinyproxy.service proxy-guard.service".split()


@pytest.fixture(scope="module")
def balanced(fleet: Fleet) -> Iterator[Balanced]:
    """Both nodes are proxies behind a load balancer, set up as by the playbooks."""
    fleet.run("proxy", **PROXY)
    made = Balanced.of_proxies(fleet.lab)
    made.quick(1.0, 0.9)
    made.register()
    until(lambda: set(made.states().values()) == {"healthy"}, 40)
    yield made
    made.remove()
    for node in NODES:
        fleet.node(node, "systemctl", "disable", "--now", *UNITS)
        fleet.node(node, "rm", "/usr/local/bin/proxy-health")


@contextmanager
def requests(fleet: Fleet, place: str) -> Iterator[list[Any]]:
    """Requests through the proxy at a place, five in a second; their results are there at the end."""
    argv = downloads.command(place, str(fleet.lab.ca), WEB_NAME, interval_s=0.2)
    process = fleet.lab.host("client-a").popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found: list[Any] = []
    try:
        yield found
    finally:
        output = process.communicate(timeout=30)[0]
        found += [json.loads(line) for line in output.splitlines()]


def health(fleet: Fleet, node: str) -> str:
    done = fleet.lab.exec(node, "proxy-health status".split(), check=False)
    return str(done.stdout).partition(":")[0]


def test_both_nodes_are_rebooted_and_no_request_fails(fleet: Fleet, balanced: Balanced) -> None:
    boots = [fleet.lab.host(node).boots for node in NODES]
    asked = {"proxy_group": "nat_nodes", "nat_maintenance_target_group": "egress", "nat_maintenance_quiet_s": 3}
    predicted = fleet.run("maintenance", "--check", **asked, nat_maintenance_reboot=True)
    assert predicted.changed > 0 and [fleet.lab.host(node).boots for node in NODES] == boots
    assert [health(fleet, node) for node in NODES] == ["healthy", "healthy"]
    with requests(fleet, balanced.dns_name) as made:
        fleet.run("maintenance", **asked, nat_maintenance_reboot=True)
    assert [fleet.lab.host(node).boots for node in NODES] == [each + 1 for each in boots]
    failed = [each for each in made if each[3] != 200]
    print(f"{len(made)} requests, {len(failed)} failed")
    assert len(made) > 100 and failed == []
    assert [health(fleet, node) for node in NODES] == ["healthy", "healthy"]
    assert set(balanced.states().values()) == {"healthy"}
    assert {fleet.status(node)["state"] for node in NODES} == {"active"}
    for node in NODES:
        assert "AWS-HA-PROXY-COUNT" not in fleet.node(node, "iptables-save") + fleet.node(node, "ip6tables-save")


def test_a_node_whose_clients_do_not_leave_stays_as_it_was(fleet: Fleet, balanced: Balanced) -> None:
    """They have its own address, so no balancer sends them elsewhere."""
    boots = fleet.lab.host("nat-a").boots
    with requests(fleet, "10.0.0.10") as made:
        said = fleet.refused(
            "maintenance",
            proxy_group="nat_nodes",
            nat_maintenance_quiet_s=3,
            nat_maintenance_wait_s=8,
            nat_maintenance_reboot=True,
        )
    assert "nat-a stays as it was: clients go on opening connections to port 3128" in said
    assert [each for each in made if each[3] != 200] == []
    fleet.settle()
    assert fleet.lab.host("nat-a").boots == boots
    assert fleet.status("nat-a")["state"] == "active"
    fleet.wait("nat-a is healthy again", lambda: health(fleet, "nat-a") == "healthy")


def test_the_last_proxy_that_serves_stays(fleet: Fleet, balanced: Balanced) -> None:
    fleet.node("nat-b", "proxy-health", "drain")
    said = fleet.refused("maintenance", "--limit", "nat-a", proxy_group="nat_nodes")
    fleet.node("nat-b", "proxy-health", "resume")
    assert "nat-a is not drained, since no other proxy is healthy: nat-b says drained" in said
    assert health(fleet, "nat-a") == "healthy" and fleet.status("nat-a")["state"] == "active"


def serving(fleet: Fleet, node: str) -> list[str]:
    """The engine's process and its files."""
    show = ["systemctl", "show", "tinyproxy.service", "--property=MainPID,NRestarts,ActiveState"]
    return [fleet.node(node, *show), fleet.node(node, "sh", "-c", "stat --format='%n %i %Y' /etc/aws-ha-egress/*")]


def package_out_of_reach(fleet: Fleet) -> None:
    """Another engine is wanted, whose package cannot be had."""
    nowhere = "/etc/apt/apt.conf.d/99nowhere"
    fleet.node("nat-a", "sh", "-c", f"echo 'Acquire::http::Proxy \"http://127.0.0.1:9\";' > {nowhere}")
    try:
        assert "squid" in fleet.refused("proxy", "--limit", "nat-a", **{**PROXY, "proxy_engine": "squid"})
    finally:
        fleet.node("nat-a", "rm", nowhere)


def bad_line(fleet: Fleet) -> None:
    said = fleet.refused("proxy", "--limit", "nat-a", **PROXY, proxy_tinyproxy_lines=["Nonsense On"])
    assert "tinyproxy would not run with it: " in said


def stopped(fleet: Fleet, unit: str) -> None:
    fleet.node("nat-a", "systemctl", "stop", unit)
    time.sleep(3)
    fleet.node("nat-a", "systemctl", "start", unit)


HARMLESS: dict[str, Callable[[Fleet], object]] = {
    "a run in check mode": lambda fleet: fleet.run("proxy", "--check", **PROXY, proxy_max_clients=777),
    "a second run": lambda fleet: fleet.run("proxy", **PROXY),
    "a line that the engine refuses": bad_line,
    "a package that cannot be had": package_out_of_reach,
    "the guard is put in place again": lambda fleet: fleet.node("nat-a", "systemctl", "reload", "proxy-guard"),
    "the nightly rotation": lambda fleet: fleet.node("nat-a", "systemctl", "reload", "tinyproxy"),
    "the health check is stopped": lambda fleet: stopped(fleet, "proxy-health.service"),
    "nat-failover is stopped": lambda fleet: stopped(fleet, "nat-failover.service"),
}


# A run of the playbook takes long, and both end before anything of the proxy is touched.
SELDOM = ("a line that the engine refuses", "a package that cannot be had")


@pytest.mark.parametrize(
    "what", [pytest.param(each, marks=pytest.mark.nightly) if each in SELDOM else each for each in HARMLESS]
)
def test_a_running_proxy_is_not_disturbed(fleet: Fleet, balanced: Balanced, what: str) -> None:
    """Clients of its own address notice nothing, and the same process serves on."""
    before = serving(fleet, "nat-a")
    with requests(fleet, "10.0.0.10") as made:
        HARMLESS[what](fleet)
        time.sleep(1)
    assert serving(fleet, "nat-a") == before
    assert len(made) > 4 and [each for each in made if each[3] != 200] == []
    fleet.wait("nat-a is healthy", lambda: health(fleet, "nat-a") == "healthy")
    fleet.settle()
