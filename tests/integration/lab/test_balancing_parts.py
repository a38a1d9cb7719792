# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of balancers and names: rules, flows that end, records, answers that change."""

from __future__ import annotations

import struct

import pytest

from lab.api.snapshot import Balancer, Listener
from lab.fabric import balancing, dns, rebind

A, B = ("10.0.0.10", 3128), ("10.0.1.10", 3128)


def egress(*targets: tuple[str, int], reset: tuple[tuple[str, int], ...] = (), **changes: object) -> Balancer:
    """A balancer with one listener in one zone."""
    given = {"protocol": "TCP", "targets": targets, "reset": reset, "keeps_client": True, **changes}
    listener = Listener("10.0.10.200", 80, **given)  # type: ignore[arg-type]
    return Balancer("egress", "Egress-1.elb.test", {"eu-west-1a": "10.0.10.200"}, ("10.0.10.200",), (listener,))


def rules(balancer: Balancer) -> list[str]:
    return [line for line in balancing.translation([balancer]).splitlines() if line.startswith("-A")]


def test_each_target_gets_an_equal_share_of_new_flows() -> None:
    start = "-A PREROUTING -p tcp -d 10.0.10.200 --dport 80"
    assert rules(egress(A, B)) == [
        f"{start} -m statistic --mode random --probability 0.500000 -j DNAT --to-destination 10.0.0.10:3128",
        f"{start} -j DNAT --to-destination 10.0.1.10:3128",
    ]


def test_without_client_addresses_flows_come_from_the_balancer() -> None:
    match = "-p tcp -m conntrack --ctorigdst 10.0.10.200 --ctorigdstport 80"
    assert rules(egress(A, keeps_client=False))[1:] == [f"-A POSTROUTING {match} -j SNAT --to-source 10.0.10.200"]


@pytest.mark.parametrize(("protocol", "number"), [("UDP", 1), ("TCP_UDP", 2), ("TLS", 0)])
def test_a_protocol_is_carried_or_not(protocol: str, number: int) -> None:
    assert len(rules(egress(A, protocol=protocol))) == number


def test_flows_end_of_targets_that_are_reset() -> None:
    assert balancing.ended([egress(B, reset=(A,))]) == {balancing.Flows("tcp", "10.0.10.200", 80, *A)}
    assert balancing.ended([egress(A, B)]) == frozenset()


def test_names_are_the_web_server_and_the_balancers() -> None:
    text = dns.hosts(dns.records([egress(A)]))
    assert "10.0.10.200 egress-1.elb.test\n" in text
    assert "198.51.100.20 www.lab.test\n" in text


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def test_the_address_of_a_name_changes_with_each_question() -> None:
    turns: dict[str, object] = {}

    def address(name: str) -> bytes:
        return rebind.reply(question(name, 1), turns, ["192.0.2.1", "10.0.0.1"])[-4:]  # type: ignore[arg-type]

    public, private = bytes([192, 0, 2, 1]), bytes([10, 0, 0, 1])
    assert [address("a.test"), address("A.test"), address("b.test"), address("a.test")] == [
        *(public, private, public, public)
    ]
    other = rebind.reply(question("a.test", 28), turns, ["192.0.2.1"])  # type: ignore[arg-type]
    assert struct.unpack(">6H", other[:12]) == (7, 0x8580, 1, 0, 0, 0)
