# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the configuration that the rules of a node follow: translation, identities, and the
ports of the node itself.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

MASQUERADE, FORWARD = "masquerade", "forward"  # Nat.ipv6
PMTU = "pmtu"  # Nat.clamp_mss
# Identity.state: packets of TCP flows that this node does not know are reset, leave with the
# identity's address, or leave with it beside all new flows
RESET, RESUME, CARRY = "reset", "resume", "carry"
STATES = (RESET, RESUME, CARRY)


class Identity(t.NamedTuple):
    """The identity of a node as another node, or that node itself, may carry it."""

    name: str  # of the node that it belongs to
    address: str  # the private address here that flows of its clients are translated to
    networks: tuple[str, ...]  # of its clients
    state: str = RESUME
    # The egress address at its home, which its synchronised flows are translated to. "": they are
    # translated to ``address``
    synced: str = ""

    @property
    def source(self) -> str:
        """The address that connection tracking of this node translates its flows to."""
        return self.synced or self.address


class Opening(t.NamedTuple):
    """A port of this node itself that a network may reach."""

    protocol: str  # TCP | UDP
    port: int
    network: str  # in canonical form


@dataclass(frozen=True)
class Nat:
    """The translation on this node. Its rules and sysctls depend on nothing else."""

    sources: tuple[str, ...]  # networks of clients, in canonical form
    interface: str  # the one that leads out
    ipv6: str = MASQUERADE  # packets of IPv6 sources: masquerade | forward
    # The largest TCP segment that either end may announce, in bytes. PMTU: the size that fits the
    # path. Empty: any.
    clamp_mss: str = ""
    # Local users, beside those of ``host.users.ALWAYS``, that the metadata service answers. None:
    # it answers all.
    imds_users: tuple[str, ...] | None = None
    # The ports of this node that are open beside that of heartbeats. None: the node refuses
    # nothing.
    openings: tuple[Opening, ...] | None = None
    heartbeat_port: int = 4710
    # The CPUs that packets are spread over: all, none, or a list (model/cpu_list.py). Empty: the
    # kernel's own choice.
    receive_cpus: str = ""
    flowtable: bool = False  # whether established flows bypass the rules
    identities: tuple[Identity, ...] = ()  # those that this node may carry, its own first
    sync_peers: tuple[str, ...] = ()  # addresses whose conntrackd may speak to the one of this node

    def translating(self, states: t.Mapping[str, str]) -> Nat:
        """The same with other states of identities, by their names. Itself if none differs."""
        changed = tuple(each._replace(state=states.get(each.name, each.state)) for each in self.identities)
        return self if changed == self.identities else replace(self, identities=changed)

    @property
    def synced(self) -> bool:
        """Whether flows of an identity come from its home, so that it must be rewritten here."""
        return any(each.synced for each in self.identities)

    def unsynced(self) -> Nat:
        """The same with flows of identities that begin here (level 1)."""
        return replace(self, identities=tuple(each._replace(synced="") for each in self.identities))

    @property
    def has_ipv6(self) -> bool:
        """Whether a source is an IPv6 network."""
        return any(is_ipv6(source) for source in self.sources)

    def of_family(self, ipv6: bool) -> tuple[str, ...]:
        """The IPv6 sources, or else the IPv4 sources."""
        return tuple(source for source in self.sources if is_ipv6(source) == ipv6)


def is_ipv6(network: str) -> bool:
    """Whether a network in canonical text is an IPv6 one."""
    return ":" in network
