# SPDX-License-Identifier: GPL-3.0-or-later
"""The internet gateway: one private address to one public address and back, without memory of any flow, as AWS's is.

AWS: Amazon VPC User Guide, "Enable internet access for a VPC using an internet gateway": a one-to-one NAT on behalf of the instance.
Packets of a one-to-one pair are not tracked. Only the managed NAT gateways, whose place is here too, track what they translate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyroute2.nftables.expressions import genex
from pyroute2.nftables.main import NFTables

from . import netns
from .nft import Nft

TABLE = "gateway"
VPC_DEVICE = "vpc"
# The packet that an ICMP error is about lies behind eight octets of the error (RFC 792); its checksum, source and destination in it.
INNER, CHECKSUM, SOURCE, DESTINATION = 8, 10, 12, 16
NFPROTO_IPV4, NETWORK, TRANSPORT, CSUM_INET, REGISTER = 2, 1, 2, 1, 1
# ``managed`` is subnet to address of a managed NAT gateway. Packets from such a subnet, and those for such an address, stay tracked.
RULES = f"""\
table ip {TABLE} {{
  map inward {{ type ipv4_addr : ipv4_addr; }}
  map outward {{ type ipv4_addr : ipv4_addr; }}
  set private {{ type ipv4_addr; }}
  map managed {{ type ipv4_addr : ipv4_addr; flags interval; }}
  set subnets {{ type ipv4_addr; flags interval; }}
  set gateways {{ type ipv4_addr; }}
  chain inner_inward {{ }}
  chain inner_outward {{ }}
  chain arriving {{
    type filter hook prerouting priority raw;
    iifname {VPC_DEVICE} ip saddr @subnets ip saddr != @private accept
    iifname {VPC_DEVICE} ip saddr @private ip daddr @gateways accept
    iifname {VPC_DEVICE} ip saddr != @private drop
    ip daddr @gateways accept
    notrack
    icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} jump inner_inward
    ip daddr set ip daddr map @inward
  }}
  chain leaving {{
    type filter hook postrouting priority srcnat + 10;
    icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} jump inner_outward
    ip saddr set ip saddr map @outward
  }}
  chain to_public {{
    type nat hook prerouting priority dstnat;
    iifname {VPC_DEVICE} dnat to ip daddr map @inward
  }}
  chain to_managed {{
    type nat hook postrouting priority srcnat;
    snat to ip saddr map @managed
  }}
}}
"""


def elements(addresses: Mapping[str, str], shared: Mapping[str, str]) -> str:
    """Input of nft, one transaction: private to public addresses, and private subnets to the public address that they share."""
    contents = {
        "inward": [f"{public} : {private}" for private, public in addresses.items()],
        "outward": [f"{private} : {public}" for private, public in addresses.items()],
        "private": list(addresses),
        "managed": [f"{subnet} : {public}" for subnet, public in shared.items()],
        "subnets": list(shared),
        "gateways": sorted(set(shared.values())),
    }
    lines = []
    for name, each in contents.items():
        kind = "map" if name in ("inward", "outward", "managed") else "set"
        lines.append(f"flush {kind} ip {TABLE} {name}")
        lines += [f"add element ip {TABLE} {name} {{ {', '.join(each)} }}"] if each else []
    return "\n".join([*lines, ""])


def inner(field: int, mapping: str) -> list[dict[str, Any]]:
    """A rule that replaces an address of the packet inside an ICMP error by the one that a map has for it.

    The kernel changes the inner header's checksum by as much as the address, so the sum over the ICMP message, which covers both, stays.
    nft(8) has no words for this: it writes raw payload without a checksum.
    """
    place = {"base": TRANSPORT, "offset": INNER + field, "len": 4}
    return [
        genex("payload", {"dreg": REGISTER, **place}),
        genex("lookup", {"set": mapping, "sreg": REGISTER, "dreg": REGISTER}),
        genex("payload", {"sreg": REGISTER, **place, "csum_type": CSUM_INET, "csum_offset": INNER + CHECKSUM}),
    ]


class Gateway:
    """The translation in the internet gateway's namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._nft = Nft(namespace)
        self._loaded = ""

    def build(self) -> None:
        """Rules that let nothing out yet."""
        self._nft.load(RULES)
        netns.inside(self._namespace, self._add_inner)

    def follow(self, addresses: Mapping[str, str], shared: Mapping[str, str]) -> None:
        """Translate so from now on, also in the middle of a flow. See ``elements``."""
        text = elements(addresses, shared)
        if text != self._loaded:
            self._nft.load(text)
            self._loaded = text

    def close(self) -> None:
        """Let go of the namespace."""
        self._nft.close()

    @staticmethod
    def _add_inner() -> None:
        with NFTables(nfgen_family=NFPROTO_IPV4) as nft:
            for chain, field, mapping in (
                ("inner_inward", SOURCE, "inward"),
                ("inner_outward", DESTINATION, "outward"),
            ):
                rule: Iterable[Any] = (inner(field, mapping),)
                nft.rule("add", table=TABLE, chain=chain, expressions=rule)
