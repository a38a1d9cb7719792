# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of one lab: router, internet gateway and internet, and the links of the hosts."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import authority
from ..api.snapshot import Snapshot
from ..errors import LabError
from . import balancing, dns, groups, ipv4, ipv6, netns, packages, rules, servers
from .gateway import Gateway
from .names import (
    API,
    ARCHIVE,
    INTERFACE,
    INTERNET,
    INTERNET6,
    INTERNET6_MORE,
    INTERNET_MORE,
    METADATA,
    OPS,
    PUBLIC_POOL,
    VPC,
    WEB,
    WEB_NAMES,
    Names,
    Port,
)
from .nft import Nft
from .routes import LAST_PRIORITY, LOCAL_PRIORITY, Router, wanted_routes, wanted_tables

log = logging.getLogger(__name__)

ROUTER, IGW, INTERNET_NS = "router", "igw", "internet"
ROUTER_SIDE, IGW_SIDE = "169.254.100.1", "169.254.100.2"


class Network:
    """The fabric. ``follow`` makes the kernel agree with the API; faults are laid over that."""

    def __init__(self, names: Names, ports: Sequence[Port]) -> None:
        self.names = names
        self.ports = {port.host: port for port in ports}
        self.dual = any(port.address6 for port in ports)
        self._lock = threading.RLock()
        self._router: Router | None = None
        self._carrier = balancing.Carrier(self._ns(ROUTER))
        self._strays: list[str] = []
        self._archive: packages.Archive | None = None
        self._names = dns.NameServer(self._ns(ROUTER), names.run)
        self._servers: list[subprocess.Popen[str]] = []
        self._checked: tuple[str, ...] = ()
        self._silent: set[str] = set()
        self._faults: list[rules.LinkFault] = []
        self._own: dict[str, tuple[str, ...]] = {}
        self._secondary: dict[str, str] = {}
        self._groups: dict[str, str] = {}
        self._nft = Nft(self._ns(ROUTER))
        self._gateway = Gateway(self._ns(IGW))
        self._loaded: list[str] = []

    def build(self) -> socket.socket:
        """Make everything but the hosts; returns the listening socket of the EC2 API as the hosts see it."""
        for part in (ROUTER, IGW, INTERNET_NS):
            netns.create(self._ns(part), {**ipv4.FORWARDING, **(ipv6.FORWARDING if self.dual else {})})
        self._link_gateway()
        for port in self.ports.values():
            self._link_host(port)
        if OPS in self.ports:
            device = self.ports[OPS].device
            netns.ip(self._ns(ROUTER), [f"rule add priority {LOCAL_PRIORITY} iif {device} lookup main"])
        if self.dual:
            ipv6.lay(self._ns(ROUTER), self._ns(IGW), self._ns(INTERNET_NS))
            self._servers.append(ipv6.start_advertising(self._ns(ROUTER), self.ports.values()))
        self._router = Router(self._ns(ROUTER), list(self.ports.values()), IGW, {4: IGW_SIDE, 6: ipv6.IGW_LINK})
        self._load_rules()
        self._gateway.build()
        if self.dual:
            self._restore(IGW, rules.gateway_rules6(), 6)
        self._serve()
        self._names.start()
        place = netns.inside(self._ns(INTERNET_NS), lambda: socket.create_server((ARCHIVE, 80), backlog=64))
        self._archive = packages.Archive(place)
        return netns.inside(self._ns(INTERNET_NS), lambda: socket.create_server((API, 80), backlog=256))

    def close(self) -> None:
        """Let go of what keeps namespaces alive, and remove them. Links go with their namespaces."""
        for server in self._servers:
            if server.stdin is not None:
                server.stdin.close()
        if self._archive is not None:
            self._archive.stop()
        if self._router is not None:
            self._router.close()
        self._nft.close()
        self._gateway.close()
        for part in (ROUTER, IGW, INTERNET_NS):
            netns.end_processes(self._ns(part))
            netns.delete(self._ns(part))
        self._names.wait()
        for server in self._servers:
            server.wait()
            if server.stdout is not None:
                server.stdout.close()

    def follow(self, snapshot: Snapshot) -> None:
        """Turn the API's state into kernel state. Routes come first, since tests wait for them."""
        ports = list(self.ports.values())
        with self._lock:
            if self._router is None:
                return
            self._router.follow(wanted_routes(snapshot, ports), wanted_tables(snapshot, ports))
            self._own = rules.own_addresses(snapshot, ports)
            self._route_secondary()
            self._checked = rules.source_dest_checks(snapshot, ports)
            self._strays = balancing.strays(balancing.addresses(snapshot.balancers))
            self._load_rules()
            self._carrier.follow(snapshot.balancers)
            self._names.follow(snapshot.balancers)
            self._gateway.follow(rules.elastic_addresses(snapshot, ports), rules.shared_addresses(snapshot))

    def host_sysctls(self) -> dict[str, str]:
        """The first settings of a new host's namespace."""
        return {**ipv4.HOST, **(ipv6.HOST if self.dual else {})}

    def attach(self, host: str, namespace: str) -> None:
        """Plug a host's link into its namespace, which has just been made."""
        port = self.ports[host]
        netns.ip(self._ns(ROUTER), [f"link set {port.parked} netns {namespace} name {INTERFACE}"])
        lines = [
            f"addr add {port.address}/24 dev {INTERFACE}",
            f"link set {INTERFACE} up",
            f"route add default via {port.gateway}",
        ]
        if port.address6:
            lines += ipv6.attach(port)
        if port.interface_id:
            lines.append(f"addr add {METADATA}/32 dev lo")
        netns.ip(namespace, lines)

    def move(self, port: Port) -> None:
        """A host that is off gets another place: address and interface are new, the link is the old one."""
        old = self.ports[port.host]
        lines = [
            f"route del {old.address}/32 dev {old.device}",
            f"neigh del {old.address} dev {old.device}",
            f"link set {port.parked} address {port.mac}",
            f"route add {port.address}/32 dev {port.device}",
            f"neigh replace {port.address} lladdr {port.mac} nud permanent dev {port.device}",
        ]
        with self._lock:
            netns.ip(self._ns(ROUTER), lines)
            self.ports[port.host] = port
            if self._router is not None:
                self._router.move(port)

    def park(self, host: str, namespace: str) -> None:
        """Unplug a host's link. The router keeps its end, and with it the routes: what they carry is lost."""
        port = self.ports[host]
        netns.ip(namespace, [f"link set {INTERFACE} netns {self._ns(ROUTER)} name {port.parked}"])

    def silence(self, host: str, silent: bool = True) -> float:
        """From now on nothing comes from a host and nothing reaches it, or all is well again. Returns by when (monotonic)."""
        with self._lock:
            (self._silent.add if silent else self._silent.discard)(host)
            self._load_rules()
            return time.monotonic()

    def add_fault(self, fault: rules.LinkFault) -> float:
        """Lay a fault over a link. Returns by when it was in effect (monotonic)."""
        fault.check(self.ports)
        with self._lock:
            self._faults.append(fault)
            self._load_rules()
            return time.monotonic()

    def clear_faults(self, only: Callable[[rules.LinkFault], bool] = lambda fault: True) -> None:
        """Take link faults away, all or some."""
        with self._lock:
            self._faults = [fault for fault in self._faults if not only(fault)]
            self._load_rules()

    def set_group(self, host: str, kind: str) -> float:
        """From now on a host has a security group of this kind (``groups.KINDS``). Returns by when (monotonic)."""
        groups.check(kind)
        with self._lock:
            if self._groups.get(host, groups.OPEN) != kind:
                self._nft.load(groups.rules(host, self.ports[host].device, kind))
                self._groups[host] = kind
            return time.monotonic()

    @property
    def security_groups(self) -> dict[str, str]:
        """The kind of each host's security group that is not open."""
        with self._lock:
            return {host: kind for host, kind in self._groups.items() if kind != groups.OPEN}

    @property
    def faults(self) -> list[rules.LinkFault]:
        """The link faults in force."""
        with self._lock:
            return list(self._faults)

    def _ns(self, part: str) -> str:
        return self.names.namespace(part)

    def _link_gateway(self) -> None:
        router, igw, internet = (self._ns(part) for part in (ROUTER, IGW, INTERNET_NS))
        netns.ip(
            router,
            [
                f"link add {rules.IGW_DEVICE} type veth peer name vpc netns {igw}",
                f"addr add {ROUTER_SIDE}/30 dev {rules.IGW_DEVICE}",
                f"link set {rules.IGW_DEVICE} up",
                f"route add blackhole {VPC}",
                f"rule add priority {LOCAL_PRIORITY} lookup main",
                f"rule add priority {LAST_PRIORITY} blackhole",
            ],
        )
        netns.ip(
            igw,
            [
                f"addr add {IGW_SIDE}/30 dev vpc",
                "link set vpc up",
                f"link add out type veth peer name eth0 netns {internet}",
                "addr add 198.51.100.1/24 dev out",
                "link set out up",
                f"route add {VPC} via {ROUTER_SIDE}",
                f"route add blackhole {PUBLIC_POOL}",
            ],
        )
        addresses = [f"addr add {address}/24 dev eth0" for address in (INTERNET, *INTERNET_MORE, WEB, ARCHIVE, API)]
        netns.ip(internet, [*addresses, "link set eth0 up", f"route add {PUBLIC_POOL} via 198.51.100.1"])

    def _link_host(self, port: Port) -> None:
        netns.ip(
            self._ns(ROUTER),
            [
                f"link add {port.device} type veth peer name {port.parked} address {port.mac}",
                f"addr add {port.gateway}/32 dev {port.device}",
                f"link set {port.device} up",
                f"route add {port.address}/32 dev {port.device}",
                f"neigh replace {port.address} lladdr {port.mac} nud permanent dev {port.device}",
                *(ipv6.link(port) if port.address6 else ()),
            ],
        )

    def _route_secondary(self) -> None:
        """Packets for a secondary address reach its interface, whether the host's kernel knows the address or not."""
        wanted = {address: host for host, addresses in self._own.items() for address in addresses[1:]}
        lines = [f"route del {address}/32" for address, host in self._secondary.items() if wanted.get(address) != host]
        for address, host in wanted.items():
            port = self.ports[host]
            if self._secondary.get(address) != host:
                lines.append(f"route add {address}/32 via {port.address} dev {port.device} onlink")
        if lines:
            netns.ip(self._ns(ROUTER), lines)
        self._secondary = wanted

    def _load_rules(self) -> None:
        texts = [
            rules.router_rules(
                self.ports,
                self._checked,
                sorted(self._silent),
                self._faults,
                family,
                self._strays if family == 4 else (),
                self._own,
            )
            for family in self._families
        ]
        if texts != self._loaded:
            for family, text in zip(self._families, texts, strict=True):
                self._restore(ROUTER, text, family)
            self._loaded = texts

    @property
    def _families(self) -> tuple[int, ...]:
        return (4, 6) if self.dual else (4,)

    def _restore(self, part: str, text: str, family: int = 4) -> None:
        command = "ip6tables-restore" if family == 6 else "iptables-restore"
        netns.run(["ip", "netns", "exec", self._ns(part), command], text=text)

    def _serve(self) -> None:
        web = authority.make(self.names.run, WEB_NAMES)
        addresses = [INTERNET, *INTERNET_MORE, *((INTERNET6, *INTERNET6_MORE) if self.dual else ())]
        argv = [sys.executable, str(Path(servers.__file__)), WEB, str(web), *addresses]
        server = subprocess.Popen(
            ["ip", "netns", "exec", self._ns(INTERNET_NS), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._servers.append(server)
        if server.stdout is None or server.stdout.readline().strip() != "ready":
            raise LabError("the servers of the lab's internet did not start")
