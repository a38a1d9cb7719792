# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identities of the configuration: Elastic IPs that move with the claims of their nodes.

Everything that shows without EC2 is refused here, with one error. Without an ``egress_address``
nothing of this exists.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ..errors import ConfigError
from ..model.cluster import Egress, Node
from ..model.nat import Identity, is_ipv6
from ..model.settings import CONNTRACKD, Config
from . import addresses
from .reader import Reader, refuse_duplicates, refuse_empty

ALLOCATION_ID = addresses.id_form("allocation id", "eipalloc")
STATE_SYNC = "state_sync"
ADDRESS, PRIVATE, NETWORKS, WAITING = ("egress_address", "egress_private_address", "egress_networks", "egress_waiting")


def read(key: str, reader: Reader) -> tuple[Egress | None, dict[str, str]]:
    """(the identity of a node, its waiting addresses by the names of their nodes).

    ``key``: the place of the node in the file. Raises ``ConfigError``.
    """
    allocation = reader.text(ADDRESS, "", form=ALLOCATION_ID)
    private = reader.text(PRIVATE, "")
    networks = addresses.networks(key + NETWORKS, reader.texts(NETWORKS, []))
    waiting = reader.table(WAITING)
    for name, text in waiting.items():
        addresses.check_ipv4(key + WAITING, text, f"give the private address of this node that waits for {name}")
    if not allocation:
        for given, value in ((PRIVATE, private), (NETWORKS, list(networks))):
            if value:
                remedy = f"name the allocation id of an Elastic IP in {ADDRESS}, or remove this"
                raise ConfigError(key + given, value, f"is of no use without {ADDRESS}", remedy)
        return None, waiting
    if not private:
        remedy = "assign the node a second private address, and name it here"
        raise ConfigError(key + PRIVATE, None, f"is missing, and {ADDRESS} needs it", remedy)
    addresses.check_ipv4(key + PRIVATE, private, "give a second private address of the node")
    refuse_empty(key + NETWORKS, networks, "name the networks of the clients, e.g. 10.0.10.0/24")
    return Egress(allocation, private, networks), waiting


def state_sync(reader: Reader) -> str:
    """``state_sync``: how connections reach the heir of an identity. Empty: not at all."""
    value = reader.text(STATE_SYNC, "")
    if value not in ("", CONNTRACKD):
        raise ConfigError(STATE_SYNC, value, "is unknown", f"write {CONNTRACKD}, or leave it out")
    return value


def sync_peers(nodes: t.Sequence[Node], self_name: str, sync: str) -> tuple[str, ...]:
    """The addresses whose conntrackd speaks to the one of this node."""
    others = [node for node in nodes if node.name != self_name and not node.witness]
    return tuple(node.address for node in others if node.address) if sync else ()


def identities(nodes: t.Sequence[Node], self_name: str, sync: str = "") -> tuple[Identity, ...]:
    """The identities that this node may carry, its own first. ``sync``: see ``state_sync``."""
    me = next((node for node in nodes if node.name == self_name), None)
    if me is None:
        return ()
    own = [Identity(me.name, me.egress.address, me.egress.networks)] if me.egress is not None else []
    others = [
        Identity(node.name, me.waiting[node.name], node.egress.networks, synced=node.egress.address if sync else "")
        for node in nodes
        if node is not me and node.egress is not None and node.name in me.waiting
    ]
    return (*own, *others)


def check(config: Config) -> None:
    """Raise ``ConfigError`` for identities that do not fit each other, the nodes or the sources."""
    nodes = config.nodes
    _check_sync(config)
    if not config.identities and not any(node.waiting for node in nodes):
        return
    for index, node in enumerate(nodes):
        _check_node(f"nodes[{index}].", node, config)
    refuse_duplicates(
        f"nodes[].{ADDRESS}",
        [each.allocation for each in config.identities.values()],
        "an Elastic IP is the identity of one node: allocate another one",
    )
    _check_shared(nodes)
    _check_networks(config)


def _check_sync(config: Config) -> None:
    """The conditions of conntrackd. It speaks to one peer, and it must know the addresses of both."""
    if not config.state_sync:
        return
    nodes = [node for node in config.nodes if not node.witness]
    egress = {name for node in nodes for name in node.waiting}
    for wrong, problem, remedy in (
        (not egress, "no node waits for the identity of another one", f"set {ADDRESS} and {WAITING}, or leave it out"),
        (len(nodes) != 2, f"conntrackd synchronises two nodes, and there are {len(nodes)}", "leave it out"),
        (
            config.nat.flowtable,
            "packets that bypass the rules (acceleration.flowtable) cannot be rewritten",
            "leave one of the two out",
        ),
    ):
        if wrong:
            raise ConfigError(STATE_SYNC, config.state_sync, problem, remedy)
    for index, node in enumerate(config.nodes):
        if not node.witness and not node.address:
            remedy = "name the private address of the node (nat_instance_address)"
            raise ConfigError(f"nodes[{index}].address", None, f"is missing, and {STATE_SYNC} needs it", remedy)


def _check_node(key: str, node: Node, config: Config) -> None:
    if node.witness and (node.egress is not None or node.waiting):
        given = ADDRESS if node.egress is not None else WAITING
        raise ConfigError(key + given, node.name, "a witness carries no flows of clients", "remove it")
    if node.egress is not None and node.egress.address == node.address:
        raise ConfigError(
            key + PRIVATE,
            node.egress.address,
            "is the address of the node itself, whose public address must not move",
            "assign the node a second private address, and name that one",
        )
    for name in node.waiting:
        if name == node.name or name not in config.identities:
            other = [each for each in config.identities if each != node.name]
            known = f"name one of: {', '.join(other)}" if other else f"set {ADDRESS} of that node, or remove this"
            raise ConfigError(key + WAITING, name, f"is no other node with an {ADDRESS}", known)


def _check_shared(nodes: t.Sequence[Node]) -> None:
    """Each private address has one use: two identities at one address would share an Elastic IP."""
    used = {node.address: f"the address of {node.name}" for node in nodes if node.address}
    for index, node in enumerate(nodes):
        own = [(PRIVATE, node.egress.address, f"the egress address of {node.name}")] if node.egress is not None else []
        for each, address in node.waiting.items():
            own.append((WAITING, address, f"the address of {node.name} that waits for {each}"))
        for given, address, use in own:
            if address in used:
                remedy = "assign a private address for this use alone"
                raise ConfigError(f"nodes[{index}].{given}", address, f"is also {used[address]}", remedy)
            used[address] = use


def _check_networks(config: Config) -> None:
    sources = [ipaddress.IPv4Network(each) for each in config.nat.of_family(ipv6=False)]
    canary = ipaddress.IPv4Address(config.canary.address)
    taken: list[tuple[ipaddress.IPv4Network, str]] = []
    for index, node in enumerate(config.nodes):
        key = f"nodes[{index}].{NETWORKS}"
        for text in node.egress.networks if node.egress is not None else ():
            if is_ipv6(text):
                raise ConfigError(key, text, "is IPv6, and an Elastic IP is IPv4", "name IPv4 networks only")
            network = ipaddress.IPv4Network(text)
            if not any(network.subnet_of(source) for source in sources):
                known = ", ".join(map(str, sources))
                raise ConfigError(key, text, f"is in none of the sources ({known})", "add it to sources, or correct it")
            if canary in network:
                raise ConfigError(
                    key,
                    text,
                    f"holds the canary's address {canary}, which proves the public address of the node itself",
                    "name the subnets of the clients, or give the canary another address",
                )
            for other, name in taken:
                if network.overlaps(other):
                    remedy = "each client has one identity: name each network once"
                    raise ConfigError(key, text, f"overlaps {other} of {name}", remedy)
            taken.append((network, node.name))
