# SPDX-License-Identifier: GPL-3.0-or-later
"""Route tables of the VPC as policy routing in the router's namespace. What to route is pure, how to tell the kernel is not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from typing import Any

from pyroute2 import IPRoute

from ..api.snapshot import GATEWAY, INTERFACE, LOCAL, RouteTable, Snapshot
from . import netns
from .names import Port

BLACKHOLE, IGW = "blackhole", "igw"
FIRST_TABLE = 1000
# Before everything: the VPC's own addresses. Then the table of the subnet a packet comes from. Then nothing: AWS drops in silence.
LOCAL_PRIORITY, SUBNET_PRIORITY, LAST_PRIORITY = 100, 200, 300

Wanted = dict[tuple[str, str], str]  # (route table, destination) -> host, IGW or BLACKHOLE


def wanted_routes(snapshot: Snapshot, ports: Sequence[Port]) -> Wanted:
    """Where packets go, for the route tables that serve a subnet with a host in it."""
    by_interface = {port.interface_id: port.host for port in ports if port.interface_id}
    routes: Wanted = {}
    for table in _used(snapshot, ports):
        for route in table.routes:
            if route.target_kind == LOCAL or not _is_ipv4(route.destination):
                continue
            target = BLACKHOLE
            if route.state == "active" and route.target_kind == GATEWAY:
                target = IGW
            elif route.state == "active" and route.target_kind == INTERFACE:
                target = by_interface.get(route.target_id, BLACKHOLE)
            routes[table.id, route.destination] = target
    return routes


def wanted_tables(snapshot: Snapshot, ports: Sequence[Port]) -> dict[str, str]:
    """Which route table serves which host, by the host's name."""
    serving = {subnet_id: table.id for table in snapshot.route_tables for subnet_id in table.subnet_ids}
    return {port.host: serving[port.subnet_id] for port in ports if port.subnet_id in serving}


def _used(snapshot: Snapshot, ports: Sequence[Port]) -> list[RouteTable]:
    inhabited = {port.subnet_id for port in ports}
    return [table for table in snapshot.route_tables if inhabited & set(table.subnet_ids)]


def _is_ipv4(destination: str) -> bool:
    try:
        IPv4Network(destination)
    except ValueError:
        return False
    return True


class Router:
    """The routes and rules in the router's namespace. Not for several threads at once: the network's lock is held."""

    def __init__(self, namespace: str, ports: Sequence[Port], igw_device: str, igw_address: str) -> None:
        self._ports = {port.host: port for port in ports}
        self._igw = igw_address
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
                self._netlink.route("replace", dst=destination, table=self._number(table), **self._hop(target))
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
            self._netlink.route("del", dst=destination, table=self._number(table))
            del self._routes[table, destination]

    def _hop(self, target: str) -> dict[str, Any]:
        if target == BLACKHOLE:
            return {"type": "blackhole"}
        gateway = self._igw if target == IGW else self._ports[target].address
        return {"gateway": gateway, "oif": self._index[target], "flags": ["onlink"]}

    def _rule(self, command: str, host: str, table: str) -> None:
        device = self._ports[host].device
        self._netlink.rule(command, priority=SUBNET_PRIORITY, iifname=device, table=self._number(table))

    def _number(self, table: str) -> int:
        return self._numbers.setdefault(table, FIRST_TABLE + len(self._numbers))
