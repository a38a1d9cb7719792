# SPDX-License-Identifier: GPL-3.0-or-later
"""Packet filters of the router, and of the internet gateway for IPv6, as whole rule sets: pure text, loaded at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..api.snapshot import NAT_GATEWAY, Snapshot
from ..errors import Prerequisite
from .names import API, VPC6, Port

IGW_DEVICE = "igw"
INTERNET_PEER, API_PEER, UPLINK_PEER, ALL_PEER = "internet", "api", "uplink", "all"
PLACES = (INTERNET_PEER, API_PEER, UPLINK_PEER, ALL_PEER)
DIRECTIONS = ("both", "out", "in")


@dataclass(frozen=True)
class LinkFault:
    """Packets between a host and a peer that vanish. ``peer``: a host, ``internet`` (without the EC2 API), ``api``, ``uplink`` (these two)
    or ``all``. ``direction``: both, out (from the host) or in (to the host)."""

    host: str
    peer: str = ALL_PEER
    direction: str = "both"
    percent: float = 100.0

    def check(self, hosts: Collection[str]) -> None:
        """Refuse what cannot be meant."""
        if self.host not in hosts:
            raise Prerequisite(f"no host {self.host!r}; there are {', '.join(sorted(hosts))}")
        if self.peer not in PLACES and (self.peer not in hosts or self.peer == self.host):
            others = sorted(set(hosts) - {self.host})
            raise Prerequisite(f"no peer {self.peer!r} of {self.host}; one of {', '.join([*others, *PLACES])}")
        if self.direction not in DIRECTIONS:
            raise Prerequisite(f"a direction is one of {', '.join(DIRECTIONS)}, not {self.direction!r}")
        if not 0 < self.percent <= 100:
            raise Prerequisite(f"a loss is more than 0 and at most 100 percent, not {self.percent}")


def source_dest_checks(snapshot: Snapshot, ports: Sequence[Port]) -> tuple[str, ...]:
    """The hosts whose source/destination check is on."""
    checked = {instance.interface_id for instance in snapshot.instances if instance.source_dest_check}
    return tuple(port.host for port in ports if port.interface_id in checked)


def elastic_addresses(snapshot: Snapshot, ports: Sequence[Port]) -> dict[str, str]:
    """Private to public address of the hosts, as the gateway translates now."""
    known = {address for addresses in own_addresses(snapshot, ports).values() for address in addresses}
    return {private: public for private, public in snapshot.translated.items() if private in known}


def own_addresses(snapshot: Snapshot, ports: Sequence[Port]) -> dict[str, tuple[str, ...]]:
    """The private addresses that EC2 has given to each host that is an instance, the primary one first."""
    hosts = {port.interface_id: port.host for port in ports if port.interface_id}
    return {hosts[each.interface_id]: each.private_ips for each in snapshot.instances if each.interface_id in hosts}


def shared_addresses(snapshot: Snapshot) -> dict[str, str]:
    """Private subnet to the public address of the managed NAT gateway that its default route points to, where one does."""
    public = {gateway.id: gateway.public_ip for gateway in snapshot.nat_gateways}
    cidrs = {subnet.id: subnet.cidr for subnet in snapshot.subnets}
    return {
        cidrs[subnet_id]: public[route.target_id]
        for table in snapshot.route_tables
        for route in table.routes
        if route.target_kind == NAT_GATEWAY and route.destination == "0.0.0.0/0" and route.target_id in public
        for subnet_id in table.subnet_ids
    }


def router_rules(
    ports: Mapping[str, Port],
    checked: Iterable[str],
    silent: Iterable[str],
    faults: Iterable[LinkFault],
    family: int = 4,
    strays: Iterable[str] = (),
    own: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Input of iptables-restore (ip6tables-restore) for the router. ``strays``: rules for packets to load balancers that belong to no flow.

    ``own``: the IPv4 addresses of hosts that have several.

    No rule needs connection tracking: the VPC's router knows no connections.
    """
    rules: list[str] = []
    for host in silent:
        device = ports[host].device
        rules += [f"-A FORWARD -i {device} -j DROP", f"-A FORWARD -o {device} -j DROP"]
        # A load balancer's health checks come from the router itself.
        rules += [f"-A INPUT -i {device} -j DROP", f"-A OUTPUT -o {device} -j DROP"]
    chains: list[str] = []
    for host in checked:
        device, address = ports[host].device, ports[host].address6 if family == 6 else ports[host].address
        several = (own or {}).get(host, ()) if family == 4 else ()
        if len(several) > 1:
            chains += [f":src-{host} - [0:0]", f":dst-{host} - [0:0]"]
            rules += [f"-A src-{host} -s {each} -j RETURN" for each in several]
            rules += [f"-A dst-{host} -d {each} -j RETURN" for each in several]
            rules += [f"-A src-{host} -j DROP", f"-A dst-{host} -j DROP"]
            rules += [f"-A FORWARD -i {device} -j src-{host}", f"-A FORWARD -o {device} -j dst-{host}"]
            continue
        rules += [f"-A FORWARD -i {device} ! -s {address} -j DROP", f"-A FORWARD -o {device} ! -d {address} -j DROP"]
    for fault in faults:
        if family == 4 or fault.peer != API_PEER:  # the API has no IPv6
            rules += _fault_rules(ports, fault, family)
    return "\n".join(
        [
            "*filter",
            ":INPUT ACCEPT [0:0]",
            ":FORWARD ACCEPT [0:0]",
            ":OUTPUT ACCEPT [0:0]",
            *chains,
            *rules,
            *strays,
            "COMMIT",
            "",
        ]
    )


def _fault_rules(ports: Mapping[str, Port], fault: LinkFault, family: int) -> list[str]:
    device = ports[fault.host].device
    peer, out_match, in_match = "", "", ""
    if fault.peer in ports:
        peer = ports[fault.peer].device
    elif fault.peer != ALL_PEER:
        peer = IGW_DEVICE
    if fault.peer == API_PEER:
        out_match, in_match = f" -d {API}", f" -s {API}"
    elif fault.peer == INTERNET_PEER and family == 4:
        out_match, in_match = f" ! -d {API}", f" ! -s {API}"
    chance = (
        "" if fault.percent >= 100 else f" -m statistic --mode random --probability {fault.percent / 100:.4f}"
    ) + " -j DROP"
    to, of = (f" -o {peer}", f" -i {peer}") if peer else ("", "")
    rules = []
    if fault.direction in ("both", "out"):
        rules.append(f"-A FORWARD -i {device}{to}{out_match}{chance}")
    if fault.direction in ("both", "in"):
        rules.append(f"-A FORWARD -o {device}{of}{in_match}{chance}")
    return rules


def gateway_rules6() -> str:
    """Input of ip6tables-restore for the internet gateway, which translates no IPv6: a unique local address of a node that does not
    masquerade ends here."""
    return "\n".join(["*filter", ":FORWARD ACCEPT [0:0]", f"-A FORWARD -i vpc ! -s {VPC6} -j DROP", "COMMIT", ""])
