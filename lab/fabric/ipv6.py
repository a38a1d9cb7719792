# SPDX-License-Identifier: GPL-3.0-or-later
"""The second family of addresses in a lab that has it: what the namespaces are told besides, and the router's advertisements.

As in a VPC: global addresses, given to interfaces as /128; the default route comes by router advertisement, and the internet gateway
translates nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ..errors import LabError
from . import advertise, netns, rules
from .names import INTERFACE, INTERNET6, INTERNET6_MORE, VPC6, Port
from .routes import LAST_PRIORITY, LOCAL_PRIORITY

ROUTER_LINK, IGW_LINK = "fe80::1", "fe80::2"
INTERNET_GATEWAY = "2001:db8:ffff::1"
_ON = {
    "ipv6/conf/all/disable_ipv6": "0",
    "ipv6/conf/default/disable_ipv6": "0",
    # Nobody else has the lab's addresses: not waiting a second until that is proven.
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
}
FORWARDING = {**_ON, "ipv6/conf/default/addr_gen_mode": "1", "ipv6/conf/all/forwarding": "1"}
# A new instance is a host: it takes advertisements, and asks for one when its interface comes up.
HOST = {
    **_ON,
    "ipv6/conf/all/forwarding": "0",
    "ipv6/conf/default/forwarding": "0",
    "ipv6/conf/default/accept_ra": "1",
    "ipv6/conf/default/router_solicitation_delay": "0",
}


def lay(router: str, igw: str, internet: str) -> None:
    """The way from the VPC to the internet, in these namespaces. The links are there and up."""
    netns.ip(
        router,
        [
            f"addr add {ROUTER_LINK}/64 dev {rules.IGW_DEVICE} nodad",
            f"route add blackhole {VPC6}",
        ],
    )
    rules_ = [f"rule add priority {LOCAL_PRIORITY} lookup main", f"rule add priority {LAST_PRIORITY} blackhole"]
    netns.ip(router, rules_, 6)
    netns.ip(
        igw,
        [
            f"addr add {IGW_LINK}/64 dev vpc nodad",
            # Neighbours are asked for from a link's own address.
            f"addr add {ROUTER_LINK}/64 dev out nodad",
            f"addr add {INTERNET_GATEWAY}/64 dev out nodad",
            f"route add {VPC6} via {ROUTER_LINK} dev vpc",
        ],
    )
    addresses = [f"addr add {address}/64 dev eth0 nodad" for address in (INTERNET6, *INTERNET6_MORE)]
    netns.ip(internet, [*addresses, f"route add {VPC6} via {INTERNET_GATEWAY}"])


def link(port: Port) -> list[str]:
    """The router's side of a host's link."""
    return [
        f"addr add {ROUTER_LINK}/64 dev {port.device} nodad",
        f"route add {port.address6}/128 dev {port.device}",
        f"neigh replace {port.address6} lladdr {port.mac} nud permanent dev {port.device}",
    ]


def attach(port: Port) -> list[str]:
    """The host's side."""
    return [f"addr add {port.address6}/128 dev {INTERFACE} nodad"]


def start_advertising(router: str, ports: Iterable[Port]) -> subprocess.Popen[str]:
    """The process that advertises the router on the hosts' links. It ends when its standard input closes."""
    devices = [port.device for port in ports]
    process = subprocess.Popen(
        ["ip", "netns", "exec", router, sys.executable, str(Path(advertise.__file__)), *devices],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if process.stdout is None or process.stdout.readline().strip() != "ready":
        raise LabError("the router's advertisements did not start")
    return process
