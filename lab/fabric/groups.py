# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups of three kinds, since AWS does not document how one takes a packet from the middle of a flow that it does not track.

AWS: EC2 User Guide, "Security group connection tracking": what a rule allows is tracked, and the answer to it is let through; a flow is
not tracked when rules let everything through in both directions. ICMP errors and answers are let through here without a look.
"""

from __future__ import annotations

from ..errors import Prerequisite
from .names import VPC

OPEN, ACCEPTING, SYN = "open", "accepting", "syn"
KINDS = {
    OPEN: "all is let through, and nothing is tracked",
    ACCEPTING: "in comes what the VPC sends and what answers; a packet from the middle of a flow begins to be tracked like a first one",
    SYN: "the same, but TCP is tracked from its SYN only; other packets of flows that are not tracked are dropped",
}
IDLE_S = 350  # EC2 User Guide: the idle timeout of an established TCP flow on Nitro v6
_FORTH = "ip saddr . meta l4proto . th sport . ip daddr . th dport"
_BACK = "ip daddr . meta l4proto . th dport . ip saddr . th sport"


def check(kind: str) -> None:
    """Refuse what is no kind."""
    if kind not in KINDS:
        raise Prerequisite(f"a security group is one of {', '.join(KINDS)}, not {kind!r}")


def rules(host: str, device: str, kind: str) -> str:
    """Input of nft for the router: the security group of the host behind a device, without memory of flows of before."""
    table = f"group-{host}"
    lines = [f"table ip {table} {{ }}", f"delete table ip {table}"]
    if kind == OPEN:
        return "\n".join([*lines, ""])
    middle = "tcp flags & (syn | ack) != syn drop" if kind == SYN else ""
    known = [f"{_BACK} @flows accept", f"{_FORTH} @flows update @flows {{ {_FORTH} }} accept"]
    new = [middle, f"update @flows {{ {_FORTH} }}", "accept"]
    lines += [
        f"table ip {table} {{",
        "set flows { type ipv4_addr . inet_proto . inet_service . ipv4_addr . inet_service;",
        f"flags dynamic, timeout; timeout {IDLE_S}s; size 262144; }}",
        "chain first { meta l4proto != { tcp, udp } return;",
        *new,
        "}",
        "chain from_host {",
        *known,
        "jump first",
        "}",
        "chain to_host {",
        *known,
        f"ip saddr {VPC} goto first",
        "meta l4proto icmp icmp type != echo-request accept",
        "drop",
        "}",
        "chain forward { type filter hook forward priority filter + 10;",
        f'iifname "{device}" jump from_host',
        f'oifname "{device}" jump to_host',
        "}",
        "}",
    ]
    return "\n".join([line for line in lines if line] + [""])
