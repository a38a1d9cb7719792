# SPDX-License-Identifier: GPL-3.0-or-later
"""Route tables of the VPC as policy routing in the router's namespace. The choice of routes is pure; their way into the kernel is not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import IPRoute

from ..api.snapshot import GATEWAY, INTERFACE, LOCAL, NAT_GATEWAY, RouteTable, Snapshot
from . import netns
from .names import Port

BLACKHOLE, IGW = "blackhole", "igw"
FIRST_TABLE = 1000
# Before everything: the VPC's own addresses. Then the table of the subnet a packet comes from. Then nothing: AWS drops in silence.
LOCAL_PRIORITY, SUBNET_PRIORITY, LAST_PRIORITY = 100, 200, 300

# A managed NAT gateway has its place in the internet gateway: what a client sends there leaves with the NAT gateway's address.
WAYS_OUT = (GATEWAY, NAT_GATEWAY)

Wanted = dict[tuple[str, str], str]  # (route table, destination) -> host, IGW or BLACKHOLE


def wanted_routes(snapshot: Snapshot, ports: Sequence[Port]) -> Wanted:
    """Where packets go, for the route tables that serve a subnet with a host in it."""
    by_interface = {port.interface_id: port.host for port in ports if port.interface_id}
    families = (4, 6) if any(port.address6 for port in ports) else (4,)
    routes: Wanted = {}
    for table in _used(snapshot, ports):
        # Routes of their own come last: they win over the same network in a prefix list.
        for route in sorted(table.routes, key=lambda each: each.destination not in snapshot.prefix_lists):
            if route.target_kind == LOCAL:
                continue
            target = BLACKHOLE
            if route.state == "active" and route.target_kind in WAYS_OUT:
                target = IGW
            elif route.state == "active" and route.target_kind == INTERFACE:
                target = by_interface.get(route.target_id, BLACKHOLE)
            for network in snapshot.prefix_lists.get(route.destination, (route.destination,)):
                if _family(network) in families:
                    routes[table.id, network] = target
    return routes


def wanted_tables(snapshot: Snapshot, ports: Sequence[Port]) -> dict[str, str]:
    """Which route table serves which host, by the host's name."""
    serving = {subnet_id: table.id for table in snapshot.route_tables for subnet_id in table.subnet_ids}
    return {port.host: serving[port.subnet_id] for port in ports if port.subnet_id in serving}


def _used(snapshot: Snapshot, ports: Sequence[Port]) -> list[RouteTable]:
    inhabited = {port.subnet_id for port in ports}
    return [table for table in snapshot.route_tables if inhabited & set(table.subnet_ids)]


def _family(destination: str) -> int:
    """4 or 6; 0 for what is no network."""
    try:
        return ip_network(destination).version
    except ValueError:
        return 0


class Router:
    """The routes and rules in the router's namespace. Not for several threads at once: the network's lock is held."""

    def __init__(self, namespace: str, ports: Sequence[Port], igw_device: str, igw_addresses: dict[int, str]) -> None:
        self._ports = {port.host: port for port in ports}
        self._igw = igw_addresses
        self._families = (AF_INET, AF_INET6) if any(port.address6 for port in ports) else (AF_INET,)
        # pyroute2 makes a socket per thread, which takes ten times as long as changing a route: one thread for all.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab-routes")
        self._netlink: Any = self._thread.submit(self._open, namespace).result()
        self._index = self._thread.submit(self._indices, igw_device).result()
        self._numbers: dict[str, int] = {}
        self._routes: Wanted = {}
        self._tables: dict[str, str] = {}

    def follow(self, routes: Wanted, tables: dict[str, str]) -> None:
        """Change what differs. New routes come before the rules that lead to them."""
        if (routes, tables) != (self._routes, self._tables):
            self._thread.submit(self._follow, routes, tables).result()

    def move(self, port: Port) -> None:
        """A host has another address from now on; no route may lead to it at this moment."""
        self._ports[port.host] = port

    def close(self) -> None:
        """Close the netlink socket, which keeps the namespace alive."""
        self._thread.submit(self._netlink.close).result()
        self._thread.shutdown()

    @staticmethod
    def _open(namespace: str) -> Any:
        # Not IPRoute(netns=...): that forks, and a fork of a process with threads may wait for ever for another thread's lock.
        netns.enter(namespace)
        return IPRoute()

    def _indices(self, igw_device: str) -> dict[str, int]:
        found = {link.get_attr("IFLA_IFNAME"): int(link["index"]) for link in self._netlink.get_links()}
        return {host: found[port.device] for host, port in self._ports.items()} | {IGW: found[igw_device]}

    def _follow(self, routes: Wanted, tables: dict[str, str]) -> None:
        for (table, destination), target in routes.items():
            if self._routes.get((table, destination)) != target:
                hop = self._hop(target, _family(destination))
                self._netlink.route("replace", dst=destination, table=self._number(table), **hop)
                self._routes[table, destination] = target
        for host in set(self._tables) | set(tables):
            before, after = self._tables.get(host), tables.get(host)
            if after is not None and after != before:
                self._rule("add", host, after)
                self._tables[host] = after
            if before is not None and after != before:
                self._rule("del", host, before)
                if after is None:
                    del self._tables[host]
        for table, destination in set(self._routes) - set(routes):
            family = AF_INET6 if _family(destination) == 6 else AF_INET
            self._netlink.route("del", family=family, dst=destination, table=self._number(table))
            del self._routes[table, destination]

    def _hop(self, target: str, version: int) -> dict[str, Any]:
        family = AF_INET6 if version == 6 else AF_INET
        if target == BLACKHOLE:
            return {"family": family, "type": "blackhole"}
        if target == IGW:
            gateway: str | None = self._igw[version]
        else:
            gateway = self._ports[target].address6 if version == 6 else self._ports[target].address
        return {"family": family, "gateway": gateway, "oif": self._index[target], "flags": ["onlink"]}

    def _rule(self, command: str, host: str, table: str) -> None:
        device = self._ports[host].device
        for family in self._families:
            self._netlink.rule(
                command, family=family, priority=SUBNET_PRIORITY, iifname=device, table=self._number(table)
            )

    def _number(self, table: str) -> int:
        return self._numbers.setdefault(table, FIRST_TABLE + len(self._numbers))
