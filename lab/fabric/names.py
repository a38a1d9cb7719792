# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and addresses of the lab. Standard library only: processes inside the namespaces import this."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from ..errors import Prerequisite

PREFIX = "natlab"
RUN = Path("/run/natlab")
STATE = Path("/var/lib/natlab")
CACHE = Path("/var/cache/natlab")
NETNS = Path("/run/netns")
ETC = Path("/etc/netns")

VPC = "10.0.0.0/16"
VPC6 = "2001:db8:0:100::/56"
PUBLIC_POOL = "203.0.113.0/24"
INTERNET = "198.51.100.10"
INTERNET_MORE = ("198.51.100.11", "198.51.100.12")
INTERNET6 = "2001:db8:ffff::10"
INTERNET6_MORE = ("2001:db8:ffff::11", "2001:db8:ffff::12")
API = "198.51.100.53"
# A web server with HTTP and HTTPS. Its names are the lab's own, and those of AWS's endpoints that a proxy's health check goes to.
WEB = "198.51.100.20"
WEB_NAME = "www.lab.test"
WEB_NAMES = (WEB_NAME, "ec2.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com")
ARCHIVE, ARCHIVE_NAME = "198.51.100.30", "deb.debian.org"  # of Debian packages
REBINDING = "rebind.lab.test"  # the address of each name below changes with each question
RESOLVER = "10.0.0.2"
RESOLVERS = (RESOLVER, "169.254.169.253")
METADATA = "169.254.169.254"
OPS, OPS_ADDRESS = "ops", "10.0.255.10"
INTERFACE = "ens5"  # what a current EC2 instance calls its first interface

# No dash: "natlab-a-" must not be the beginning of another lab's namespaces.
_NAME = re.compile(r"[a-z][a-z0-9]{0,19}")


@dataclass(frozen=True)
class Names:
    """Everything that carries one lab's name."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Prerequisite(f"a lab's name is 1 to 20 lower-case letters and digits, not {self.name!r}")

    def namespace(self, part: str) -> str:
        """The network namespace of a part: router, internet, nat-a and so on."""
        return f"{PREFIX}-{self.name}-{part}"

    def namespaces(self) -> list[str]:
        """Those that exist now."""
        start = self.namespace("")
        return sorted(path.name for path in NETNS.glob(start + "*")) if NETNS.is_dir() else []

    @property
    def run(self) -> Path:
        """The folder that does not outlive a reboot of the machine."""
        return RUN / self.name

    @property
    def state(self) -> Path:
        """Disks and keys."""
        return STATE / self.name

    def ssh_name(self, host: str) -> str:
        """A host's name for ssh and Ansible, such as nat-a.one.natlab. Addresses are the same in every lab, this name is not."""
        return f"{host}.{self.name}.{PREFIX}"

    @property
    def ssh_control(self) -> str:
        """The ControlPath of shared ssh connections: in a folder that ends with the lab, short enough for a Unix socket."""
        return f"{self.run}/ssh-%C"


@dataclass(frozen=True)
class Port:
    """A host's place in the VPC. ``interface_id`` is None for what EC2 does not know: clients and ops; ``address6`` where there is no IPv6."""

    host: str
    address: str
    mac: str
    subnet_id: str | None = None
    interface_id: str | None = None
    address6: str | None = None

    @property
    def gateway(self) -> str:
        """The VPC router, as on AWS the first address of the subnet."""
        return str(IPv4Address(int(IPv4Address(self.address)) & 0xFFFFFF00 | 1))

    @property
    def device(self) -> str:
        """The router's end of the host's link."""
        return "v-" + self.host

    @property
    def parked(self) -> str:
        """The host's end, while the host is off."""
        return "p-" + self.host


def address6(address: str) -> str:
    """The IPv6 address of a host: 10.0.11.50 is 2001:db8:0:10b::50."""
    _ten, _zero, subnet, host = address.split(".")
    return f"2001:db8:0:1{int(subnet):02x}::{host}"


def client_mac(address: str) -> str:
    """A locally administered hardware address made of the network address."""
    return "02:01:" + ":".join(f"{part:02x}" for part in IPv4Address(address).packed)
