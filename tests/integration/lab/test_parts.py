# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts: what to route, what to drop, what a stream saw, where packages come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab import image
from lab.api.snapshot import Instance, Route, RouteTable, Snapshot, Subnet
from lab.errors import LabError, Prerequisite
from lab.fabric.gateway import elements
from lab.fabric.names import Names, Port, address6
from lab.fabric.routes import BLACKHOLE, IGW, wanted_routes, wanted_tables
from lab.fabric.rules import LinkFault, elastic_addresses, router_rules, source_dest_checks
from lab.stream import LINGER_S, Result

NODE = Port("nat-a", "10.0.0.10", "02:00:00:00:00:01", "subnet-1", "eni-1")
CLIENT = Port("client-a", "10.0.10.50", "02:00:00:00:00:02", "subnet-2")
PORTS = (NODE, CLIENT)
DUAL = tuple(replace(port, address6=address6(port.address)) for port in PORTS)


def vpc(*routes: Route, check: bool = True, public_ip: str | None = "203.0.113.10") -> Snapshot:
    """One node, one client, and the client's route table."""
    return Snapshot(
        (Instance("i-1", "nat-a", "running", "10.0.0.10", "eni-1", check, public_ip, "subnet-1", ("10.0.0.10",)),),
        (
            RouteTable(
                "rtb-2", "private-a", (Route("10.0.0.0/16", "local", "local", "active"), *routes), ("subnet-2",)
            ),
            RouteTable("rtb-9", "unused", (Route("0.0.0.0/0", "interface", "eni-1", "active"),), ()),
        ),
        (Subnet("subnet-1", "10.0.0.0/24", "eu-west-1a"), Subnet("subnet-2", "10.0.10.0/24", "eu-west-1a")),
        translated={"10.0.0.10": public_ip} if public_ip else {},
    )


@pytest.mark.parametrize(
    ("route", "target"),
    [
        (Route("0.0.0.0/0", "interface", "eni-1", "active"), "nat-a"),
        (Route("0.0.0.0/0", "interface", "eni-1", "blackhole"), BLACKHOLE),
        (Route("0.0.0.0/0", "interface", "eni-gone", "active"), BLACKHOLE),
        (Route("0.0.0.0/0", "gateway", "igw-1", "active"), IGW),
        (Route("0.0.0.0/0", "nat-gateway", "nat-1", "active"), IGW),
        (Route("0.0.0.0/0", "other", "tgw-1", "active"), BLACKHOLE),
    ],
)
def test_routes(route: Route, target: str) -> None:
    assert wanted_routes(vpc(route), PORTS) == {("rtb-2", "0.0.0.0/0"): target}
    assert wanted_tables(vpc(route), PORTS) == {"client-a": "rtb-2"}


def test_a_prefix_list_is_the_networks_in_it_and_a_route_of_its_own_wins() -> None:
    routes = [Route(to, "interface", eni, "active") for to, eni in (("192.0.2.0/24", "eni-1"), ("pl-1", "eni-gone"))]
    lists = {"pl-1": ("192.0.2.0/24", "198.51.100.0/24", "2001:db8:9::/48")}
    for order in (routes, routes[::-1]):
        snapshot = replace(vpc(*order), prefix_lists=lists)
        found = {("rtb-2", "192.0.2.0/24"): "nat-a", ("rtb-2", "198.51.100.0/24"): BLACKHOLE}
        assert wanted_routes(snapshot, PORTS) == found
        assert wanted_routes(snapshot, DUAL) == {**found, ("rtb-2", "2001:db8:9::/48"): BLACKHOLE}


# Health checks of a load balancer come from the router itself, not through it.
SILENT_CLIENT = [
    "-A FORWARD -i v-client-a -j DROP",
    "-A FORWARD -o v-client-a -j DROP",
    "-A INPUT -i v-client-a -j DROP",
    "-A OUTPUT -o v-client-a -j DROP",
]


def appended(rules: str) -> list[str]:
    """The rules without the frame around them."""
    return [line for line in rules.splitlines() if line.startswith("-A")]


def test_ipv6_in_a_lab_that_has_it() -> None:
    snapshot = vpc(Route("::/0", "interface", "eni-1", "active"))
    assert wanted_routes(snapshot, DUAL) == {("rtb-2", "::/0"): "nat-a"}
    hosts = {port.host: port for port in DUAL}
    lines = appended(router_rules(hosts, ["nat-a"], ["client-a"], [LinkFault("nat-a", "internet", "out")], 6))
    assert lines == [
        *SILENT_CLIENT,
        "-A FORWARD -i v-nat-a ! -s 2001:db8:0:100::10 -j DROP",
        "-A FORWARD -o v-nat-a ! -d 2001:db8:0:100::10 -j DROP",
        "-A FORWARD -i v-nat-a -o igw -j DROP",
    ]
    assert appended(router_rules(hosts, (), (), [LinkFault("nat-a", "api")], 6)) == [], "the API has no IPv6"


@pytest.mark.parametrize("destination", ["::/0", "pl-12345678", ""])
def test_what_is_no_ipv4_route_is_left_out(destination: str) -> None:
    assert wanted_routes(vpc(Route(destination, "interface", "eni-1", "active")), PORTS) == {}


def test_source_dest_check_and_elastic_address() -> None:
    assert source_dest_checks(vpc(check=True), PORTS) == ("nat-a",)
    assert source_dest_checks(vpc(check=False), PORTS) == ()
    assert elastic_addresses(vpc(), PORTS) == {"10.0.0.10": "203.0.113.10"}
    assert elastic_addresses(vpc(public_ip=None), PORTS) == {}


def test_what_the_gateway_translates_is_one_transaction() -> None:
    names = ("inward", "outward", "private", "managed", "subnets", "gateways")
    assert [line.split()[-1] for line in elements({}, {}).splitlines()] == list(names), "emptied, and nothing added"
    added = [line for line in elements({"10.0.0.10": "203.0.113.10"}, {}).splitlines() if line.startswith("add")]
    assert added == [
        "add element ip gateway inward { 203.0.113.10 : 10.0.0.10 }",
        "add element ip gateway outward { 10.0.0.10 : 203.0.113.10 }",
        "add element ip gateway private { 10.0.0.10 }",
    ]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (LinkFault("nat-a"), ["-A FORWARD -i v-nat-a -j DROP", "-A FORWARD -o v-nat-a -j DROP"]),
        (LinkFault("nat-a", "client-a", "in"), ["-A FORWARD -o v-nat-a -i v-client-a -j DROP"]),
        (LinkFault("nat-a", "api", "out"), ["-A FORWARD -i v-nat-a -o igw -d 198.51.100.53 -j DROP"]),
        (LinkFault("nat-a", "internet", "in"), ["-A FORWARD -o v-nat-a -i igw ! -s 198.51.100.53 -j DROP"]),
        (
            LinkFault("nat-a", "uplink", "out", 12.5),
            ["-A FORWARD -i v-nat-a -o igw -m statistic --mode random --probability 0.1250 -j DROP"],
        ),
    ],
)
def test_a_fault_as_rules(fault: LinkFault, expected: list[str]) -> None:
    assert appended(router_rules({port.host: port for port in PORTS}, (), (), [fault])) == expected


def test_a_silent_host_comes_before_everything() -> None:
    lines = appended(router_rules({port.host: port for port in PORTS}, ["client-a"], ["client-a"], []))
    assert lines[:4] == SILENT_CLIENT
    assert lines[4] == "-A FORWARD -i v-client-a ! -s 10.0.10.50 -j DROP"


@pytest.mark.parametrize("name", ["", "a-b", "A", "../x", "1a", "a" * 21])
def test_a_name_that_cannot_be(name: str) -> None:
    with pytest.raises(LabError):
        Names(name)


def test_a_gateway_is_the_first_address_of_the_subnet() -> None:
    assert (NODE.gateway, CLIENT.gateway) == ("10.0.0.1", "10.0.10.1")


def test_a_stream_with_a_hole() -> None:
    sent = {number: 100 + number * 0.005 for number in range(200)}
    received = {number: at + 0.001 for number, at in sent.items() if not 50 <= number < 150}
    result = Result(sent, received, 101.5)
    assert result.outage_ms(0, 100.9) == pytest.approx(505)
    assert result.outage_ms() == pytest.approx(505)
    assert result.outage_ms(0, 100.1) == pytest.approx(5)
    assert (result.packets_lost, result.lost(100.5, 101)) == (100, 50)
    assert result.timeline[0] == (100, pytest.approx(1)) and result.timeline[60][1] is None


def test_a_stream_that_never_got_an_answer() -> None:
    result = Result({1: 10.0, 2: 10.1}, {}, 10.1 + LINGER_S)
    assert (result.outage_ms(), result.packets_lost) == (pytest.approx(400), 1)


def test_the_mirror_is_this_machines_own(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/other.list").write_text("deb https://example.com/apt stable contrib\n")
    (tmp_path / "sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://security.example/debian-security\nSuites: bookworm-security\nComponents: main\n\n"
        "Types: deb\n# a comment: with a colon\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main\nSigned-By: /nowhere.gpg\n"
    )
    found = image.mirror(tmp_path)
    assert found == image.Mirror("http://mirror.example/debian", "/nowhere.gpg", image.mirror().proxy)
    with pytest.raises(Prerequisite, match=r"/nowhere\.gpg is not there.*debian-archive-keyring"):
        found.source("bookworm")
    (tmp_path / "sources.list").write_text(
        "deb [arch=amd64 signed-by=/dev/null] http://one.example/debian trixie main\n"
    )
    assert image.mirror(tmp_path).url == "http://one.example/debian"
    assert image.mirror(tmp_path).keyring == "/dev/null"
