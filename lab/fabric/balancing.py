# SPDX-License-Identifier: GPL-3.0-or-later
"""The traffic of Network Load Balancers in the VPC's router: a new flow goes to one target by DNAT, and keeps the client's address.

The rules and the flows that end are pure; ``Carrier`` loads them. AWS: Network Load Balancer User Guide. TLS listeners are not carried.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..api.snapshot import Balancer, Listener
from . import netns

PROTOCOLS = {"TCP": ("tcp",), "UDP": ("udp",), "TCP_UDP": ("tcp", "udp")}
# A flow that the router has forgotten is not taken up in the middle: its packets reach the balancer's own address, which resets it.
STRICT = {"netfilter/nf_conntrack_tcp_loose": "0"}


class Flows(NamedTuple):
    """The flows from one address and port of a balancer to one target."""

    protocol: str
    address: str
    port: int
    target: str
    target_port: int


def addresses(balancers: Iterable[Balancer]) -> tuple[str, ...]:
    """The balancers' own addresses, for which the router answers."""
    return tuple(address for balancer in balancers for address in balancer.addresses.values())


def ended(balancers: Iterable[Balancer]) -> frozenset[Flows]:
    """The flows that balancers end now. The next packet of a client draws a reset."""
    return frozenset(
        Flows(protocol, listener.address, listener.port, *target)
        for listener, protocol in _carried(balancers)
        for target in listener.reset
    )


def translation(balancers: Iterable[Balancer]) -> str:
    """Input of iptables-restore for the router's table nat: each new flow goes to one of the listener's targets, at random."""
    to: list[str] = []
    back: list[str] = []
    for listener, protocol in _carried(balancers):
        match = f"-p {protocol} -d {listener.address} --dport {listener.port}"
        for number, (target, port) in enumerate(listener.targets):
            chance = 1 / (len(listener.targets) - number)  # of the flows that no rule before has taken
            some = "" if chance == 1 else f" -m statistic --mode random --probability {chance:.6f}"
            to.append(f"-A PREROUTING {match}{some} -j DNAT --to-destination {target}:{port}")
        if not listener.keeps_client:
            of = f"-p {protocol} -m conntrack --ctorigdst {listener.address} --ctorigdstport {listener.port}"
            back.append(f"-A POSTROUTING {of} -j SNAT --to-source {listener.address}")
    chains = [":PREROUTING ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]"]
    return "\n".join(["*nat", *chains, *to, *back, "COMMIT", ""])


def strays(addresses: Iterable[str]) -> list[str]:
    """Rules of the router's filter for packets to a balancer that belong to no flow: reset in the middle of one, else dropped."""
    rules = []
    for address in addresses:
        rules.append(f"-A INPUT -d {address} -p tcp ! --syn -j REJECT --reject-with tcp-reset")
        rules.append(f"-A INPUT -d {address} -j DROP")
    return rules


def _carried(balancers: Iterable[Balancer]) -> Iterator[tuple[Listener, str]]:
    for balancer in balancers:
        for listener in balancer.listeners:
            for protocol in PROTOCOLS.get(listener.protocol, ()):
                yield listener, protocol


class Carrier:
    """The balancers' addresses, translations and ended flows in the router's namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._addresses: tuple[str, ...] = ()
        self._translation = ""
        self._ended: frozenset[Flows] = frozenset()

    def follow(self, balancers: Sequence[Balancer]) -> None:
        """Make the kernel agree. ``strays`` of the addresses are loaded before."""
        if not balancers and not self._addresses:
            return
        own, text, over = addresses(balancers), translation(balancers), ended(balancers)
        if not self._addresses:
            netns.run(
                ["ip", "netns", "exec", self._namespace, "iptables-restore"], text=text
            )  # loads the tracking of connections
            netns.sysctl(self._namespace, STRICT)
        elif text != self._translation:
            netns.run(["ip", "netns", "exec", self._namespace, "iptables-restore"], text=text)
        lines = [f"addr add {each}/32 dev lo" for each in own if each not in self._addresses]
        lines += [f"addr del {each}/32 dev lo" for each in self._addresses if each not in own]
        if lines:
            netns.ip(self._namespace, lines)
        for address in set(self._addresses) - set(own):
            self._forget("--orig-dst", address)
        for flows in over - self._ended:
            words = ["-p", flows.protocol, "--orig-dst", flows.address, "--orig-port-dst", str(flows.port)]
            self._forget(*words, "--reply-src", flows.target, "--reply-port-src", str(flows.target_port))
        self._addresses, self._translation, self._ended = own, text, over

    def _forget(self, *words: str) -> None:
        """Drop the router's memory of flows. No flow to forget is no error, though conntrack ends with 1."""
        argv = ["ip", "netns", "exec", self._namespace, "conntrack", "-D", *words]
        subprocess.run(argv, capture_output=True, timeout=30, check=False)
