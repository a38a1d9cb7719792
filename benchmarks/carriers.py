# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that carry packets from the lab's router back to it: a node, or a namespace made like one.

The kernel works a packet of a veth link off on the core that sends it, before the next one is sent. So the CPU time of the sender
is that of the whole way, and a host that drops each packet at its entry shows the sender's own share.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.fabric import netns
from lab.fabric.names import INTERFACE
from lab.testing import RunningLab

from . import packets

SENDER = Path(packets.__file__)
GATEWAY = "10.0.0.1"
LIMIT_S = 60.0
BENCHMARK = "198.18.0.0/15"
FORWARDING = {"ipv4/ip_forward": "1", f"ipv4/conf/{INTERFACE}/rp_filter": "2", "ipv4/conf/all/send_redirects": "1"}


@dataclass(frozen=True)
class Carrier:
    """``device``: the router's end of its link. ``translates``: its clients' packets leave with its own address.

    ``returns``: whether packets come back.
    """

    name: str
    namespace: str
    router: str
    device: str
    address: str
    translates: bool
    returns: bool = True

    def carry(self, kind: str, count: int, seconds: float, number: int) -> dict[str, Any]:
        """Packets through this host: how many were sent and came back, and the CPU time for that. Raises ``LabError``."""
        answered = self.address if self.translates else packets.CLIENT
        job = {"device": self.device, "kind": kind, "count": count, "seconds": seconds, "number": number}
        job |= {"answered": answered, "returns": self.returns}
        job |= {"source_mac": _mac(self.router, self.device), "target_mac": _mac(self.namespace, INTERFACE)}
        words = ["ip", "netns", "exec", self.router, sys.executable, str(SENDER)]
        done = subprocess.run(
            words, input=json.dumps(job), capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        if done.returncode:
            raise LabError(f"{self.name}: the sender of packets failed: {done.stderr.strip()[-300:]}")
        told: dict[str, Any] = json.loads(done.stdout)
        expected = [answered, packets.SERVER]
        if told.get("seen", expected) != expected:
            raise LabError(f"{self.name}: packets and answers came from {told['seen']}, not from {expected}")
        return told

    def forget(self) -> None:
        """Forget its connections."""
        if self.translates:
            netns.run(["ip", "netns", "exec", self.namespace, "conntrack", "-F"])


def of_node(lab: RunningLab, node: str) -> Carrier:
    """A node of the lab, with whatever it runs."""
    host = lab.host(node)
    router = lab.network.names.namespace("router")
    return _known(Carrier(node, host.namespace, router, host.port.device, host.address, True))


@contextmanager
def made(
    lab: RunningLab, name: str, number: int, rules: Sequence[Sequence[str]] = (), returns: bool = True
) -> Iterator[Carrier]:
    """A host beside the nodes that does nothing but forward, or, without ``returns``, drops all at its entry.

    ``rules``: words of iptables; none: it translates nothing.
    """
    namespace, router = (lab.network.names.namespace(part) for part in (name, "router"))
    device, address = f"v-{name}", f"10.0.0.{200 + number}"
    netns.create(namespace, lab.network.host_sysctls())
    try:
        netns.ip(
            router,
            [
                f"link add {device} type veth peer name {INTERFACE} netns {namespace}",
                f"addr add {GATEWAY}/32 dev {device}",
                f"link set {device} up",
                f"route add {address}/32 dev {device}",
            ],
        )
        netns.ip(
            namespace,
            [
                f"addr add {address}/24 dev {INTERFACE}",
                f"link set {INTERFACE} up",
                f"route add default via {GATEWAY}",
            ],
        )
        netns.sysctl(namespace, FORWARDING)
        for words in rules:
            netns.run(["ip", "netns", "exec", namespace, "iptables", *words])
        if not returns:
            _drop(namespace, [INTERFACE])
        yield _known(Carrier(name, namespace, router, device, address, bool(rules), returns))
    finally:
        netns.delete(namespace)


def sink(lab: RunningLab, carriers: Sequence[Carrier]) -> None:
    """The router drops what comes back from these, as early as it can."""
    _drop(lab.network.names.namespace("router"), [carrier.device for carrier in carriers])


def _drop(namespace: str, devices: Sequence[str]) -> None:
    listed = ", ".join(f'"{device}"' for device in devices)
    chain = f"type filter hook ingress devices = {{ {listed} }} priority -500;"
    ends = "\n".join(f"ip {end} {BENCHMARK} drop" for end in ("daddr", "saddr"))
    text = f"table netdev bench {{\nchain sink {{\n{chain}\n{ends}\n}}\n}}\n"
    netns.run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], text=text)


def _known(carrier: Carrier) -> Carrier:
    """The host knows its gateway without a question."""
    mac = _mac(carrier.router, carrier.device)
    colons = ":".join(mac[at : at + 2] for at in range(0, 12, 2))
    netns.ip(carrier.namespace, [f"neigh replace {GATEWAY} lladdr {colons} nud permanent dev {INTERFACE}"])
    return carrier


def _mac(namespace: str, device: str) -> str:
    told = json.loads(netns.run(["ip", "-n", namespace, "-json", "link", "show", "dev", device]))
    address: str = told[0]["address"]
    return address.replace(":", "")
