# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems as an operator meets them: a code, a subject, a text, a remedy.

``CODES`` is the one table of codes. Its order is that of the causes: what stands earlier may be the
cause of what stands later. docs/problems.md has a section for each code.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

# Levels, which are the exit codes of ``nat-failover status``, too.
WELL, DEGRADED, CRITICAL, UNKNOWN = 0, 1, 2, 3
LEVELS: t.Mapping[int, str] = {WELL: "well", DEGRADED: "degraded", CRITICAL: "critical", UNKNOWN: "unknown"}


class Code(t.NamedTuple):
    """The meaning of a code."""

    level: int  # WELL: a note, which changes no exit code
    remedy: str  # names fields of ``Problem.details`` in braces


_UNTIL_GOOD = "nothing is written until this is repaired"
CODES: t.Mapping[str, Code] = {
    # --- routes without a way out
    "dark": Code(CRITICAL, "read the other problems; by hand: {by_hand}"),  # or the remedy of the obstacle
    # --- this node cannot act
    "identity": Code(CRITICAL, "correct the instance ids of the nodes, then run the role again; " + _UNTIL_GOOD),
    "interface": Code(CRITICAL, "bring the interface up: ip link set {interface} up"),
    "default_routes": Code(CRITICAL, "restore the default route by {interface}: systemctl restart systemd-networkd"),
    "internet": Code(CRITICAL, "check the route table of this node's subnet, its public address, its security group"),
    "ec2_unreachable": Code(CRITICAL, "check the path to the EC2 API: DNS, security group, VPC endpoint"),
    "ec2_denied": Code(CRITICAL, "run `nat-failover check-config --online`, and allow what it names (docs/iam.md)"),
    "ec2_credentials": Code(CRITICAL, "check this instance's profile, its clock, and IMDS (169.254.169.254)"),
    "ec2_error": Code(CRITICAL, "read `journalctl -u nat-failover`; AWS's health page may tell more"),
    "ip_forward": Code(CRITICAL, "sysctl -w net.ipv4.ip_forward=1, and find the program that sets 0"),
    "rules": Code(CRITICAL, "nat-failover rules apply"),
    "conntrack": Code(CRITICAL, "raise net.netfilter.nf_conntrack_max (docs/tuning.md)"),
    "source_dest_check": Code(
        CRITICAL, "aws ec2 modify-instance-attribute --instance-id {instance_id} --no-source-dest-check"
    ),
    "ipv6_forwarding": Code(CRITICAL, "sysctl -w net.ipv6.conf.all.forwarding=1"),
    "ipv6_address": Code(CRITICAL, "assign an IPv6 address to this instance's interface"),
    "ipv6_default_routes": Code(CRITICAL, "sysctl -w net.ipv6.conf.{interface}.accept_ra=2"),
    "canary": Code(CRITICAL, "look for foreign rules that drop: iptables -S FORWARD; nft list ruleset"),
    "forwarding": Code(CRITICAL, "run `nat-failover rules check`"),
    "unchecked": Code(CRITICAL, "wait for the first checks of this node, a few seconds after its start"),
    # --- actions
    "action_refused": Code(DEGRADED, "read `journalctl -u nat-failover`"),
    "unfit": Code(DEGRADED, "set fence.policy to what EC2 takes on this instance (nat_instance_fence)"),
    "unseen": Code(DEGRADED, "run `nat-failover check-config --online`, and correct what it names"),
    "unread_addresses": Code(
        DEGRADED, "run `nat-failover check-config --online`, and allow what it names (docs/iam.md)"
    ),
    "state_sync": Code(
        DEGRADED,
        "on both nodes: systemctl status nat-failover-sync; allow UDP 3780 between them. Identities move all the same",
    ),
    "impostor": Code(DEGRADED, "stop nat-failover on the machine that the line names, or correct its configuration"),
    "paused": Code(DEGRADED, "nat-failover unpause"),
    "withheld": Code(DEGRADED, "remove the obstacle that the line names"),
    # --- peers
    "peer_failed": Code(DEGRADED, "`nat-failover explain {peer}` names what its fence waits for; EC2 has its console"),
    "peer_sick": Code(DEGRADED, "run `nat-failover status` on {peer}"),
    "peer_unmanaged": Code(
        DEGRADED,
        "on {peer}: systemctl status nat-failover; if it runs, let UDP {port} from {peer} into this node (its security "
        "group) and out of {peer}, and compare the heartbeat keys",
    ),
    "peer_partitioned": Code(DEGRADED, "check the security groups and network ACLs between this node and {peer}"),
    "peer_silent": Code(DEGRADED, "compare `nat-failover status` on {peer}: this node may be the cause"),
    "peer_unknown": Code(DEGRADED, "on {peer}: systemctl status nat-failover"),
    "peer_deaf": Code(
        DEGRADED, "allow UDP {port} from {address} in the security group of {peer}, and out of this node"
    ),
    "peer_hindered": Code(DEGRADED, "run `nat-failover status` on {peer}: this node has no backup until then"),
    "peer_draining": Code(DEGRADED, "when the work on {peer} is done, run there: nat-failover resume"),
    # --- services that routes depend on
    "service_unwell": Code(
        DEGRADED,
        "on {node}: look at {service} and at the program that writes {file}; for a proxy: proxy-health status",
    ),
    # --- routes that are served
    "away": Code(DEGRADED, "wait: the line names the condition"),
    "drift": Code(DEGRADED, "if it was not meant, on {home}: nat-failover adopt {route_table}; by hand: {by_hand}"),
    "astray": Code(DEGRADED, "run `nat-failover check-config --online`; by hand: {by_hand}"),
    # --- the rest
    "drained": Code(DEGRADED, "nat-failover resume"),
    "interruption": Code(DEGRADED, "wait for EC2's event, or overrule it: nat-failover resume"),
    "ec2_throttled": Code(DEGRADED, "find the other callers of the EC2 API in this account; writes keep to EC2's pace"),
    "old_reading": Code(DEGRADED, "ask a node that EC2 answers: its reading is newer"),
    "imds": Code(DEGRADED, "check the path to 169.254.169.254; interruptions are not seen meanwhile"),
    "canary_gone": Code(DEGRADED, "systemctl restart nat-failover-canary"),
    "witness_table": Code(DEGRADED, "run `nat-failover check-config --online`"),
    "reload_refused": Code(DEGRADED, "correct the configuration, then: systemctl reload nat-failover"),
    "history_unwritten": Code(
        DEGRADED, "free space there, or make it writable for the service; the journal has the events meanwhile"
    ),
    "lost_lines": Code(WELL, "the disk or the journal is too slow: systemctl status systemd-journald"),
    "policy_rules": Code(DEGRADED, "if it is not meant: ip rule delete pref N, with the number before the colon"),
    "foreign_rules": Code(WELL, "let them accept the packets of clients, or remove them"),
    "warning": Code(WELL, "the line names it"),
    "observe": Code(WELL, "set nat_instance_mode to route or full when this cluster may act"),
}


@dataclass(frozen=True)
class Problem:
    """One problem. ``text`` names what is wrong with the subject and the evidence."""

    code: str  # a key of CODES
    subject: str  # a claim, a node, or "" for the cluster
    text: str
    since_s: float | None = None  # seconds that it has lasted. None: not known
    details: t.Mapping[str, str] = field(default_factory=dict)  # the fields of the remedy
    remedy: str = ""  # in place of the code's

    @property
    def level(self) -> int:
        """WELL, DEGRADED or CRITICAL."""
        return CODES[self.code].level

    @property
    def do(self) -> str:
        """The remedy for an operator."""
        return self.remedy or CODES[self.code].remedy.format(**self.details)

    def row(self) -> dict[str, t.Any]:
        """The problem in types that JSON has."""
        return {
            "code": self.code,
            "level": LEVELS[self.level],
            "subject": self.subject,
            "text": self.text,
            "do": self.do,
            "since_s": None if self.since_s is None else round(self.since_s, 1),
        }


def parted(line: str) -> tuple[str, str]:
    """(text, remedy) of a line whose remedy stands behind its last semicolon. Without one: (line, "")."""
    text, _semicolon, remedy = line.rpartition("; ")
    return (text, remedy) if text else (line, "")


def ordered(problems: t.Iterable[Problem]) -> list[Problem]:
    """The worst first, and causes before symptoms."""
    order = {code: index for index, code in enumerate(CODES)}
    return sorted(problems, key=lambda each: (-each.level, order[each.code], each.subject))


def worst(problems: t.Iterable[Problem]) -> int:
    """The highest level, WELL without problems."""
    return max((each.level for each in problems), default=WELL)
