# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP and HTTPS through a network load balancer and two proxies, while one of them fails in every way. Real packets, AWS's shortest checks.

The figures are printed. A client makes a request every 100 ms and waits a second at most.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from lab import downloads
from lab.fabric.names import WEB
from tests.integration.balanced import Balanced, until
from tests.integration.proxy.nodes import Nodes, running_nodes
from tests.integration.proxy.seen import PUBLIC, ended

# Between the verdict and the packets: a request that began before it ends a time-out later.
GRACE_S = 2 * downloads.LIMIT_S


class Site:
    """Proxies behind a balancer that is set up as the playbook does, and a client."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes, self.lab = nodes, nodes.lab
        self.balanced = Balanced.of_proxies(nodes.lab)
        self.balanced.register()

    def requests(self, host: str = "client-a", *urls: str) -> subprocess.Popen[str]:
        """Start a client."""
        return self.nodes.requests(host, self.balanced.dns_name, *urls)

    def all_healthy(self) -> None:
        until(lambda: set(self.balanced.states().values()) == {"healthy"}, 40)


@pytest.fixture(scope="class")
def site(request: pytest.FixtureRequest, planner: Callable[..., dict[str, object]]) -> Iterator[Site]:
    plan = planner(engine=request.cls.engine, sources=["10.0.0.0/16"], health_destinations=[])
    with running_nodes(plan) as nodes:
        made = Site(nodes)
        if request.cls.engine == "tinyproxy":  # the balancer's own times are seen with squid
            made.balanced.quick(1.0, 0.9)
        yield made


FAULTS: dict[str, Callable[[Site], object]] = {
    "drained": lambda site: site.nodes.health("nat-a", "drain"),
    "proxy killed": lambda site: site.nodes.kill_engine("nat-a"),
    "uplink cut": lambda site: site.lab.fault("uplink", "nat-a"),
    "frozen": lambda site: site.lab.fault("freeze", "nat-a"),
    "node killed": lambda site: site.lab.fault("kill", "nat-a"),
}
REPAIRS: dict[str, Callable[[Site], object]] = {
    "drained": lambda site: site.nodes.health("nat-a", "resume"),
    "proxy killed": lambda site: site.lab.host("nat-a").reboot(hard=True),
}


def clients_use_both(site: Site) -> None:
    """With HTTP and HTTPS, from both zones. A name that rebinds shows the internet or an error, never instance metadata."""
    site.all_healthy()
    clients = [site.requests(host) for host in ("client-a", "client-b")]
    rebinding = site.requests("client-a", *(f"{number}.rebind.lab.test" for number in range(8)))
    time.sleep(3)
    for each in clients:
        seen = ended(each)
        assert [one for one in seen if not one.ok] == []
        assert {(one.scheme, one.text) for one in seen} == {
            (scheme, address) for scheme in ("http", "https") for address in PUBLIC.values()
        }
    seen = ended(rebinding)
    assert len(seen) > 20
    assert [one for one in seen if one.status in (200, 401) and not one.ok] == []
    assert not site.lab.connect("client-a", WEB, 443), "a client has no route of its own"


def one_fails(site: Site, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Requests fail until the balancer knows, and not after; a drained node costs none. Then it comes back."""
    site.all_healthy()
    process = site.requests()
    time.sleep(1)
    begin = time.monotonic()
    FAULTS[fault](site)
    until(lambda: site.balanced.states()["nat-a"] == "unhealthy.draining", 40)
    verdict = time.monotonic()
    time.sleep(GRACE_S + 1)
    REPAIRS.get(fault, lambda site: site.lab.heal())(site)
    repaired = time.monotonic()
    site.all_healthy()
    back = time.monotonic()
    time.sleep(1)
    seen = ended(process)
    failed = [each for each in seen if not each.ok]
    last = max((each.ended - begin for each in failed), default=0.0)
    with capsys.disabled():
        print(
            f"\n  {site.nodes.plan['engine']}, {fault}: {len(failed)} of {len(seen)} requests failed, the last after {last:.1f} s; "
            f"unhealthy after {verdict - begin:.1f} s, healthy {back - repaired:.1f} s after the repair"
        )
    assert [each for each in seen if each.begun < begin - downloads.LIMIT_S and not each.ok] == []
    assert [each for each in failed if each.begun > verdict + GRACE_S] == []
    between = {each.text for each in seen if verdict + GRACE_S < each.begun < repaired}
    assert between == {PUBLIC["nat-b"]}
    assert PUBLIC["nat-a"] in {each.text for each in seen if each.begun > repaired}
    if fault == "drained":
        assert failed == []


class TestSquid:
    engine = "squid"

    def test_clients_without_a_route_use_both_proxies(self, site: Site) -> None:
        clients_use_both(site)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_proxy_fails_and_clients_go_on(self, site: Site, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
        one_fails(site, fault, capsys)


class TestTinyproxy:
    """The balancer does the same before either engine: fewer faults, and more frequent checks."""

    engine = "tinyproxy"

    def test_clients_without_a_route_use_both_proxies(self, site: Site) -> None:
        clients_use_both(site)

    @pytest.mark.parametrize("fault", ["drained", "proxy killed"])
    def test_a_proxy_fails_and_clients_go_on(self, site: Site, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
        one_fails(site, fault, capsys)
