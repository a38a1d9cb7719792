# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can this node NAT? The checks of its own kernel, in order.

The first one that finds a fatal defect decides.

A further check is one function and one line of ``CHECKS``. Its value appears in ``nat-failover
status``, its defect in the heartbeats, and its repair is done, without a change elsewhere.
"""

from __future__ import annotations

import typing as t

from ..host import kernel, users
from ..host.netfilter import RulesReading
from ..host.repair_helper import RULES, SYSCTLS
from ..model.nat import MASQUERADE, Nat

MOST_SHOWN = 3  # rules of others in one warning
CONNTRACK_FULL = 0.98  # above this, new flows are dropped while old ones go on


class Subject(t.NamedTuple):
    """The node that the checks examine."""

    nat: Nat
    rules: RulesReading  # the newest one
    source_dest_check: bool | None  # as EC2 shows it; None: not read yet
    answered: t.Mapping[str, bool] = {}  # command of a family -> whether the canary is; missing: no result yet
    foreign: tuple[str, ...] = ()  # rules of others that may drop clients' packets, in words
    foreign_unknown: str = ""  # why some of them cannot be read, in words
    proc: str = kernel.PROC
    sys_class_net: str = kernel.SYS_CLASS_NET
    policy: tuple[str, ...] = ()  # rules of the policy routing that drop packets of clients, in words


class Finding(t.NamedTuple):
    """The result of one check."""

    value: str | None  # as ``status`` shows it; None: not shown
    defect: str = ""  # what is wrong, in words
    repair: str = ""  # the word by which the root helper repairs the defect; "": it cannot
    advice: str = ""  # makes the defect a warning to an operator: this node forwards all the same


Findings = t.Mapping[str, Finding]


def ip_forward(node: Subject) -> Finding:
    """The kernel forwards IPv4."""
    value = kernel.read_sysctl("net/ipv4/ip_forward", node.proc)
    return Finding(value, "" if value == "1" else f"ip_forward={value or 'unreadable'}", SYSCTLS)


def interface(node: Subject) -> Finding:
    """The interface towards the internet is there and up."""
    problem = kernel.interface_problem(node.nat.interface, node.sys_class_net)
    return Finding(f"{node.nat.interface} {problem or 'up'}", problem)


def default_routes(node: Subject) -> Finding:
    """An IPv4 default route leaves by that interface."""
    found = kernel.default_routes(node.proc)
    missing = f"no default route by interface {node.nat.interface}"
    return Finding(", ".join(found) or "none", "" if node.nat.interface in found else missing)


def rules(node: Subject) -> Finding:
    """The iptables rules are in place.

    Rules that cannot be read are no rules that are missing: the canary's answer outranks them. A
    family whose canary is not answered has no other proof.
    """
    if node.rules.missing:
        return Finding(node.rules.missing, node.rules.missing, RULES)
    texts = {command: f"the rules of {command} cannot be read: {why}" for command, why in node.rules.unreadable.items()}
    for command, text in texts.items():
        if not node.answered.get(command):
            # Before the first result of the canary a repair would be early.
            return Finding(text, text, RULES if command in node.answered else "")
    for text in texts.values():
        return Finding(text, text, advice="the canary's packets get answers all the same")
    return Finding("all there")


def repeated_jumps(node: Subject) -> Finding:
    """One jump leads to each chain of this node."""
    return Finding(None, node.rules.repeated, RULES, "packets pass the same rules again; run the role again")


def guard_rules(node: Subject) -> Finding:
    """The rules that protect this node's own credentials and ports are in place."""
    advice = "the root helper puts them back; run the role again if it cannot"
    return Finding(None, node.rules.unguarded, RULES, advice)


def rewriting(node: Subject) -> Finding:
    """The addresses of synchronised identities are rewritten.

    Without it flows of identities begin here, as at level 1.
    """
    text = f"synchronised flows would be lost: {node.rules.unmapped}" if node.rules.unmapped else ""
    advice = "the root helper puts it back; new flows and those whose client sends go on meanwhile"
    return Finding(None, text, RULES, advice)


def imds_users(node: Subject) -> Finding:
    """Each user that may ask the metadata service exists."""
    names = ", ".join(users.missing(node.nat.imds_users or ()))
    text = f"the metadata service is opened to {names}, which is no user of this host"
    return Finding(None, text if names else "", advice="create the user, or take it out of imds.users")


def foreign_rules(node: Subject) -> Finding:
    """No rule of another program may drop a client's packet on its way through this node."""
    unknown = f"unknown: {node.foreign_unknown}" if node.foreign_unknown else "none"
    if not node.foreign:
        return Finding(unknown)
    shown = "; ".join(node.foreign[:MOST_SHOWN])
    more = len(node.foreign) - MOST_SHOWN
    text = f"rules of others may drop clients' packets: {shown}{f'; and {more} more' if more > 0 else ''}"
    advice = f"let them accept what comes in and goes out by {node.nat.interface}, or remove them"
    return Finding(f"{len(node.foreign)}", text, advice=advice)


def policy_rules(node: Subject) -> Finding:
    """No rule of the policy routing drops packets of clients.

    It may be meant for some of them, so this node forwards all the same.
    """
    shown = "; ".join(node.policy[:MOST_SHOWN])
    advice = f"if it is not meant: ip rule delete pref {node.policy[0].partition(':')[0]}" if node.policy else ""
    return Finding(None, f"policy rules drop clients' packets: {shown}" if node.policy else "", advice=advice)


def conntrack(node: Subject) -> Finding:
    """The connection tracking table has room for new flows."""
    fill = kernel.conntrack_fill(node.proc)
    full = f"conntrack table {int(fill * 100)} % full"
    return Finding(f"{fill * 100:.1f} % full", full if fill >= CONNTRACK_FULL else "")


def source_dest_check(node: Subject) -> Finding:
    """EC2 does not drop forwarded packets."""
    value = {None: "unknown", True: "on", False: "off"}[node.source_dest_check]
    return Finding(value, "source/dest check is on" if node.source_dest_check else "")


def ipv6_forwarding(node: Subject) -> Finding:
    """The kernel forwards IPv6."""
    value = kernel.read_sysctl("net/ipv6/conf/all/forwarding", node.proc)
    return Finding(value, "" if value == "1" else f"ipv6 forwarding={value or 'unreadable'}", SYSCTLS)


def ipv6_address(node: Subject) -> Finding:
    """The interface has an address to masquerade with, where IPv6 is masqueraded."""
    fine = node.nat.ipv6 != MASQUERADE or kernel.ipv6_addresses(node.nat.interface, node.proc)
    return Finding(None, "" if fine else f"interface {node.nat.interface} has no IPv6 address")


def ipv6_accept_ra(node: Subject) -> Finding:
    """Whether the kernel takes default routes from router advertisements.

    ``ipv6_default_routes`` judges it.
    """
    return Finding(_accept_ra(node))


def ipv6_default_routes(node: Subject) -> Finding:
    """An IPv6 default route leaves by the interface."""
    found = kernel.ipv6_default_routes(node.proc)
    value = ", ".join(found) or "none"
    if node.nat.interface in found:
        # Where another program reads advertisements (systemd-networkd), accept_ra is 0 and the
        # route is there.
        return Finding(value)
    missing = f"no IPv6 default route by interface {node.nat.interface}"
    accept_ra = _accept_ra(node)
    if accept_ra == "2":
        return Finding(value, missing)  # the next advertisement brings it
    return Finding(value, f"{missing} (accept_ra={accept_ra or 'unreadable'})", SYSCTLS)


def _accept_ra(node: Subject) -> str:
    return kernel.read_sysctl(f"net/ipv6/conf/{node.nat.interface}/accept_ra", node.proc)


def tcp_liberal(node: Subject) -> Finding:
    """Late packets do not reset living connections.

    The setting does not exist before the kernel tracks connections.
    """
    strict = kernel.read_sysctl(kernel.LIBERAL, node.proc) == "0"
    advice = "late packets may reset living connections; run the role again"
    return Finding(None, "nf_conntrack_tcp_be_liberal=0" if strict else "", SYSCTLS, advice)


def tcp_loose(node: Subject) -> Finding:
    """Flows of an identity go on in the middle when they come from another node."""
    strict = kernel.read_sysctl(kernel.LOOSE, node.proc) == "0"
    advice = "connections of an identity end when it comes to this node; find the program that sets it"
    return Finding(None, "nf_conntrack_tcp_loose=0" if strict else "", SYSCTLS, advice)


# Key in ``status`` -> check. The order is that of the judgement.
CHECKS: t.Mapping[str, t.Callable[[Subject], Finding]] = {
    "ip_forward": ip_forward,
    "interface": interface,
    "default_routes": default_routes,
    "rules": rules,
    "repeated_jumps": repeated_jumps,
    "guard_rules": guard_rules,
    "rewriting": rewriting,
    "imds_users": imds_users,
    "foreign_rules": foreign_rules,
    "policy_rules": policy_rules,
    "conntrack": conntrack,
    "source_dest_check": source_dest_check,
    "ipv6_forwarding": ipv6_forwarding,
    "ipv6_address": ipv6_address,
    "ipv6_accept_ra": ipv6_accept_ra,
    "ipv6_default_routes": ipv6_default_routes,
    "tcp_liberal": tcp_liberal,
    "tcp_loose": tcp_loose,
}


def examine(node: Subject) -> dict[str, Finding]:
    """Do all checks, those of IPv6 and of identities only on a node that has them.

    Reads a few files of the kernel.
    """
    six, moves = node.nat.has_ipv6, bool(node.nat.identities)
    left_out = [key for key in CHECKS if (key.startswith("ipv6_") and not six) or (key == "tcp_loose" and not moves)]
    return {key: check(node) for key, check in CHECKS.items() if key not in left_out}


def defects(findings: Findings) -> dict[str, str]:
    """All defects that keep this node from forwarding: key of the check -> defect in words."""
    return {key: each.defect for key, each in findings.items() if each.defect and not each.advice}


def first_defect(findings: Findings) -> str:
    """The first defect that keeps this node from forwarding, in words. Empty if there is none."""
    return next(iter(defects(findings).values()), "")


def repairable(findings: Findings) -> dict[str, str]:
    """The root helper's words for what it can repair, each with the first such defect."""
    found: dict[str, str] = {}
    for each in findings.values():
        if each.defect and each.repair:
            found.setdefault(each.repair, each.defect)
    return found


def warnings(findings: Findings) -> tuple[str, ...]:
    """The defects that do not keep this node from forwarding, with an advice."""
    return tuple(f"{each.defect}: {each.advice}" for each in findings.values() if each.defect and each.advice)


def shown(findings: Findings) -> dict[str, str]:
    """The values of the checks by key, for ``status``."""
    return {key: each.value for key, each in findings.items() if each.value is not None}
