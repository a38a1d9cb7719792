# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that a NAT node wants, as text. Pure.

All rules live in chains of this product, and one jump leads to each from a built-in chain.
"""

from __future__ import annotations

import typing as t

from ..model.nat import CARRY, MASQUERADE, PMTU, RESET, RESUME, Identity, Nat, is_ipv6
from ..model.settings import SYNC_PORT
from .iptables_text import jump

# Packets of TCP that open no flow
MID_STREAM = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"
COMMANDS = ("iptables", "ip6tables")  # a command stands for its family of addresses


class Chain(t.NamedTuple):
    """A chain of this product."""

    table: str
    built_in: str  # the chain that leads to it
    name: str
    first: bool  # its jump stands first, where a DROP of another manager may follow

    @property
    def jump(self) -> str:
        """The rule that leads to it."""
        return jump(self.built_in, self.name)


POSTROUTING = Chain("nat", "POSTROUTING", "NAT-FAILOVER-POSTROUTING", False)
FORWARD = Chain("filter", "FORWARD", "NAT-FAILOVER-FORWARD", True)
CLAMP = Chain("mangle", "FORWARD", "NAT-FAILOVER-MSS", True)
INPUT = Chain("filter", "INPUT", "NAT-FAILOVER-INPUT", True)
OUTPUT = Chain("filter", "OUTPUT", "NAT-FAILOVER-OUTPUT", True)
CHAINS = (POSTROUTING, FORWARD, CLAMP, INPUT, OUTPUT)
GUARDS = (INPUT, OUTPUT)  # without them packets of clients pass all the same
TABLES: t.Mapping[str, tuple[Chain, ...]] = {
    table: tuple(chain for chain in CHAINS if chain.table == table) for table in ("nat", "filter", "mangle")
}
Wanted = t.Mapping[Chain, tuple[str, ...]]


class LinkLocal(t.NamedTuple):
    """Addresses of a family that EC2 serves to an instance itself, and the protocols beside TCP.

    Source: EC2 User Guide, "Link-local addresses" and "Use the Instance Metadata Service".
    """

    networks: tuple[str, ...]  # not to be forwarded
    local: tuple[str, ...]  # those among them that no packet from elsewhere may be for
    metadata: str
    icmp: str  # the protocol of errors, echo and neighbours
    dhcp: str  # the ports of an answer that has no request the kernel knows


LINK_LOCAL: t.Mapping[str, LinkLocal] = {
    "iptables": LinkLocal(
        networks=("169.254.0.0/16",),
        local=("169.254.0.0/16",),
        metadata="169.254.169.254/32",
        icmp="icmp",
        dhcp="--sport 67 --dport 68",
    ),
    "ip6tables": LinkLocal(
        networks=("fe80::/10", "fd00:ec2::/32"),
        local=("fd00:ec2::/32",),  # neighbours and routers speak to fe80::/10 of this node itself
        metadata="fd00:ec2::254/128",
        icmp="ipv6-icmp",
        dhcp="--sport 547 --dport 546",
    ),
}


def rules(nat: Nat, command: str = "iptables", uids: t.Sequence[int] = ()) -> Wanted:
    """The wanted rules by chain, in order, as iptables-save prints them, so that they can be
    compared.

    ``command`` names the family, and ``uids`` are the users that may ask the metadata service. A
    chain without rules does not exist.
    """
    # Traffic between the sources stays as it is. A packet in the middle of a TCP flow that this
    # node does not know (the other node forwarded it before) is answered with a reset, so that the
    # client reconnects at once instead of hanging. The kernel calls such a packet NEW, or INVALID
    # where nf_conntrack_tcp_loose is off. A packet of a living flow must therefore never be INVALID
    # (``kernel.LIBERAL``). Where nothing is translated, the flow goes on.
    networks = nat.of_family(command == "ip6tables")
    translated = command == "iptables" or nat.ipv6 == MASQUERADE
    unknown = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate INVALID,NEW"
    inside = [f"-d {network}" for network in networks]
    outward = [f"-s {network} -o {nat.interface}" for network in networks]
    answers = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    identities = nat.identities if command == "iptables" else ()
    masquerade = [f"{match} -j RETURN" for match in inside]
    masquerade += [rule for each in identities for rule in _translation(each, nat.interface)]
    masquerade += [f"{match} -j MASQUERADE" for match in outward]
    # A client must not reach the metadata of this node, or of a host behind it, through this node.
    special = LINK_LOCAL[command]
    forward = [f"-d {network} -i {nat.interface} -j DROP" for network in special.networks]
    # Nearly all packets belong to a known flow, so the rules for these come first. They accept only
    # what the rules after them accept: that is for speed alone.
    known = f"-i {nat.interface} -o {nat.interface} -m conntrack --ctstate ESTABLISHED -j ACCEPT"
    forward += [f"-s {network} {known}" for network in networks]
    forward += [f"{match} -i {nat.interface} {answers}" for match in inside]
    # No host has these addresses for itself. A packet to one of them that belongs to no known flow
    # must neither take its port nor be answered.
    unsolicited = [f"-d {each.source}/32 -i {nat.interface} -j DROP" for each in identities]
    forward += unsolicited
    forward += [f"{match} -o {nat.interface} -j RETURN" for match in inside]
    going_on = [
        f"-s {network} -o {nat.interface} {MID_STREAM} -m conntrack --ctstate NEW -j ACCEPT"
        for each in identities
        if each.state != RESET
        for network in each.networks
    ]
    forward += going_on if translated else []
    for match in outward:
        forward += [f"{match} {unknown} -j REJECT --reject-with tcp-reset"] if translated else []
        forward += [f"{match} -j ACCEPT"]
    listed = {
        POSTROUTING: masquerade if translated else [],
        FORWARD: forward,
        CLAMP: _clamp(networks, nat),
        INPUT: [f"-d {network} -i {nat.interface} -j DROP" for network in special.local]
        + unsolicited
        + (_sync_port(nat) if command == "iptables" else [])
        + _own_ports(nat, special),
        OUTPUT: _metadata(special, uids) if nat.imds_users is not None else [],
    }
    if not networks:
        listed = {chain: [] for chain in CHAINS}  # clients have no addresses of this family
    return {chain: tuple(f"-A {chain.name} {rule}" for rule in lines) for chain, lines in listed.items()}


def _translation(identity: Identity, interface: str) -> list[str]:
    """The translation of an identity's clients, narrow before wide. SNAT keeps the port if it can.

    The kernel takes a packet in the middle of a TCP flow for the first one of a new flow.
    """
    ways = [f"-s {network} -o {interface}" for network in identity.networks]
    to = f"-j SNAT --to-source {identity.source}"
    if identity.state == CARRY:
        return [f"{way} {to}" for way in ways]
    return [f"{way} {MID_STREAM} {to}" for way in ways] if identity.state == RESUME else []


def states(nat: Nat, present: t.Collection[str] | None) -> dict[str, str]:
    """The states of the identities by the rules that are there. None: no such chain, as at boot.

    Rules of the other level show the state as well, so a change of the level keeps it.
    """
    found = {}
    for each in nat.identities:
        fits = [
            state
            for state in (CARRY, RESUME)
            for level in (each, each._replace(synced=""))
            if f"-A {POSTROUTING.name} {_translation(level._replace(state=state), nat.interface)[0]}" in (present or ())
        ]
        found[each.name] = RESUME if present is None else next(iter(fits), RESET)
    return found


def _sync_port(nat: Nat) -> list[str]:
    """The port of conntrackd, which knows no key: whoever reaches it could end or invent flows."""
    if not nat.sync_peers:
        return []
    packet = f"-i {nat.interface} -p udp -m udp --dport {SYNC_PORT}"
    return [*(f"-s {peer}/32 {packet} -j RETURN" for peer in nat.sync_peers), f"{packet} -j DROP"]


def _own_ports(nat: Nat, special: LinkLocal) -> list[str]:
    """The packets for this node itself: what is open, and a refusal of the rest.

    Rules of others come after what is open. Heartbeats may come from anywhere, since a replaced
    peer has another address. The security group and the socket know the peers.
    """
    if nat.openings is None:
        return []
    way, family = f"-i {nat.interface}", special is LINK_LOCAL["ip6tables"]
    passing = [
        f"{way} -m conntrack --ctstate RELATED,ESTABLISHED",
        f"{way} -p {special.icmp}",
        f"{way} -p udp -m udp {special.dhcp}",
    ]
    passing += [f"{way} -p udp -m udp --dport {nat.heartbeat_port}"] if not family else []
    for protocol, port, network in nat.openings:
        if is_ipv6(network) == family:
            source = "" if network.endswith("/0") else f"-s {network} "
            passing.append(f"{source}{way} -p {protocol} -m {protocol} --dport {port}")
    return [*(f"{match} -j RETURN" for match in passing), f"{way} -j DROP"]


def _metadata(special: LinkLocal, uids: t.Sequence[int]) -> list[str]:
    """The metadata service gives credentials of this node to each process that asks for them."""
    requests = f"-d {special.metadata} -p tcp -m tcp --dport 80"
    passing = [f"{requests} -m owner --uid-owner {uid} -j RETURN" for uid in uids]
    return [*passing, f"{requests} -j REJECT --reject-with tcp-reset"]


def _clamp(networks: t.Sequence[str], nat: Nat) -> list[str]:
    """The largest TCP segment that either end may announce.

    The kernel only ever lowers what is announced.
    """
    if not nat.clamp_mss:
        return []
    how = "--clamp-mss-to-pmtu" if nat.clamp_mss == PMTU else f"--set-mss {nat.clamp_mss}"
    syn = f"-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS {how}"
    ways = [way for network in networks for way in (f"-s {network} -o", f"-d {network} -i")]
    return [f"{way} {nat.interface} {syn}" for way in ways]
