# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict of the chain of FORWARD on a packet, however its rules are ordered: the text of the rules, evaluated, beside a few lines of Python."""

from __future__ import annotations

import functools
import ipaddress
import random
from dataclasses import dataclass

import pytest

from nat_failover.host import wanted_rules
from nat_failover.model.nat import Nat

DEFAULT = Nat(("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"), "ens5")
BOTH = Nat(("10.0.0.0/16", "fd00:1::/48", "2001:db8::/56"), "ens5")
FORWARDED = Nat(("10.0.0.0/16", "2001:db8::/56"), "ens5", ipv6="forward")
ADDRESSES = {
    4: ("10.0.10.50", "10.0.11.50", "172.16.1.1", "192.168.1.1", "169.254.169.254", "198.51.100.1", "192.0.2.1"),
    6: ("fd00:1::5", "2001:db8::50", "2001:db8::51", "fd00:ec2::254", "fe80::1", "2001:db8:ffff::1", "2600::1"),
}
INTERFACES = ("ens5", "ens6", "nfcanary", "tun0")
STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")
FLAGS = ("SYN", "SYN,ACK", "ACK", "FIN,ACK", "RST", "RST,ACK")


@dataclass(frozen=True)
class Packet:
    """A packet in FORWARD, after the translation back of its destination."""

    source: str
    target: str
    came: str
    goes: str
    protocol: str
    flags: str
    state: str
    begun_by: str  # the ends of its flow, as its first packet had them
    begun_to: str


def packets(family: int, seed: int) -> list[Packet]:
    """Packets of flows that clients or others have begun, both ways, also to an address that others translate."""
    dice = random.Random(seed)
    made = []
    for _number in range(2000):
        source, target, other = dice.sample(ADDRESSES[family], 3)
        came, goes = dice.choice((*INTERFACES[:2], "ens5")), dice.choice((*INTERFACES, "ens5", "ens5"))
        protocol, state = dice.choice(("tcp", "udp", "icmp")), dice.choice((*STATES, "ESTABLISHED"))
        begun = (
            (source, dice.choice((target, target, other)))
            if dice.random() < 0.5
            else (target, dice.choice((source, other)))
        )
        flags = dice.choice(FLAGS) if protocol == "tcp" else ""
        made.append(Packet(source, target, came, goes, protocol, flags, state, *begun))
    return made


@functools.cache
def within(address: str, *networks: str) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)


def wanted(nat: Nat, family: int, packet: Packet) -> str:
    """The behaviour that docs/forwarding.md promises."""
    sources, special = nat.of_family(family == 6), {4: ("169.254.0.0/16",), 6: ("fe80::/10", "fd00:ec2::/32")}[family]
    by, out = packet.came == nat.interface, packet.goes == nat.interface
    if by and within(packet.target, *special):
        return "DROP"
    if within(packet.target, *sources):
        return "ACCEPT" if by and packet.state in ("ESTABLISHED", "RELATED") else "RETURN"
    if not (out and within(packet.source, *sources)):
        return "RETURN"
    unknown = packet.protocol == "tcp" and packet.flags != "SYN" and packet.state in ("NEW", "INVALID")
    translated = family == 4 or nat.ipv6 == "masquerade"
    return "REJECT" if unknown and translated else "ACCEPT"


def evaluated(lines: tuple[str, ...], packet: Packet) -> str:
    """The verdict of the rules, as iptables documents their options."""
    for line in lines:
        words, fits, negated = line.split()[2:], True, False
        while words:
            option = words.pop(0)
            if option == "!":
                negated = True
                continue
            if option == "-j":
                if fits:
                    return words[0]
                break
            value = words.pop(0)
            if option == "-m":
                continue
            flags = words.pop(0) if option == "--tcp-flags" else ""
            found = {
                "-s": lambda value=value: within(packet.source, value),
                "-d": lambda value=value: within(packet.target, value),
                "-i": lambda value=value: packet.came == value,
                "-o": lambda value=value: packet.goes == value,
                "-p": lambda value=value: packet.protocol == value,
                "--ctstate": lambda value=value: packet.state in value.split(","),
                "--ctorigsrc": lambda value=value: within(packet.begun_by, value),
                "--ctorigdst": lambda value=value: within(packet.begun_to, value),
                "--tcp-flags": lambda value=value, flags=flags: _flags(packet, value, flags),
            }[option]()
            fits, negated = fits and found != negated, False
    return "RETURN"


def _flags(packet: Packet, mask: str, wanted_flags: str) -> bool:
    return set(packet.flags.split(",")) & set(mask.split(",")) == set(wanted_flags.split(","))


EACH = pytest.mark.parametrize(
    ("nat", "family"),
    [(DEFAULT, 4), (BOTH, 4), (BOTH, 6), (FORWARDED, 6)],
    ids=["default", "both, IPv4", "both, IPv6", "IPv6 forwarded"],
)


@EACH
@pytest.mark.parametrize("seed", range(3))
def test_each_packet_gets_the_promised_verdict(nat: Nat, family: int, seed: int) -> None:
    lines = wanted_rules.rules(nat, wanted_rules.COMMANDS[family == 6])[wanted_rules.FORWARD]
    seen = set()
    for packet in packets(family, seed):
        verdict = wanted(nat, family, packet)
        assert evaluated(lines, packet) == verdict, packet
        seen.add(verdict)
    assert seen >= {"DROP", "ACCEPT", "RETURN"}


@EACH
def test_the_rules_for_known_flows_are_for_speed_alone(nat: Nat, family: int) -> None:
    lines = wanted_rules.rules(nat, wanted_rules.COMMANDS[family == 6])[wanted_rules.FORWARD]
    slow = tuple(line for line in lines if not ("-i ens5 -o ens5" in line and "--ctstate ESTABLISHED" in line))
    assert len(lines) - len(slow) == len(nat.of_family(family == 6)), "one for each source"
    taken = 0
    for seed in range(3):
        for packet in packets(family, seed):
            assert evaluated(lines, packet) == evaluated(slow, packet), packet
            taken += evaluated(lines, packet) == "ACCEPT"
    assert taken
