# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A status in an operator's words, for the terminal and for the page. Pure.

Shape of a status: ``service/status.py``.
"""

from __future__ import annotations

import typing as t
from datetime import datetime, timezone

Answer = t.Mapping[str, t.Any]
YES = {True: "yes", False: "NO", None: "unknown"}


def age(seconds: float | None) -> str:
    """A length of time as an operator reads it. None: ``never``."""
    if seconds is None:
        return "never"
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def clock(at: float, form: str = "%Y-%m-%d %H:%M:%SZ") -> str:
    """A moment (seconds since 1970) in UTC."""
    return datetime.fromtimestamp(at, timezone.utc).strftime(form)


def headline(status: Answer) -> str:
    """The state of the cluster in one sentence, as this node sees it."""
    dark = [row for row in status["claims"] if row["served"] is False]
    worst = next((each for each in status["problems"] if each["level"] == status["level"]), None)
    if dark:
        lasted = max((each["since_s"] or 0 for each in status["problems"] if each["code"] == "dark"), default=0)
        return f"DARK for {age(lasted)}: {len(dark)} of {len(status['claims'])} routes lead nowhere"
    if status["level"] == "critical":
        return "CANNOT ACT: this node could take nothing over now"
    if worst is not None and status["level"] == "degraded":
        return "PAUSED" if status["paused"] else "DEGRADED: all routes lead out, as far as this node knows"
    return f"well; {status['summary']}"


def nodes(status: Answer) -> list[list[str]]:
    """This node and its peers, with their views of each other. The first row: headings."""
    me = status["self"]
    own = f"this node; mode {status['mode']}, fences left {status['fences']['budget'] - status['fences']['spent']}"
    answered = "ok" if me["ec2"] else "NO"
    rows = [["node", "state", "forwards", "EC2 API", "heard", "hears me", "verdict"]]
    forwards = "-" if status["state"] == "witness" else YES[me["forwarding"]]
    ec2 = f"{answered}, {age(me['ec2_s_ago'])} ago"
    rows.append([f"{status['node']} *", status["state"], forwards, ec2, "-", "-", own])
    for peer in status["verdicts"]:
        fresh = peer["hears_me"] is not None or peer["verdict"] in ("healthy", "sick")
        rows.append(
            [
                peer["peer"],
                (peer["state"] or "-") if fresh else "-",
                YES[peer["forwarding"] if fresh else None],
                peer["ec2_state"] or "not read",
                _heard(peer["heartbeat_ms_ago"]),
                YES[peer["hears_me"]],
                f"{peer['verdict']} since {age(peer['since_s'])}" + _fenced(peer.get("fence_ordered", "")),
            ]
        )
    return rows


def _fenced(order: str) -> str:
    """An order to fence the peer that is being carried out. Empty: none is."""
    return f"; fence: {order}" if order else ""


def _heard(milliseconds: int | None) -> str:
    return "never" if milliseconds is None else f"{age(milliseconds / 1000)} ago"


def identities(status: Answer) -> list[list[str]]:
    """Each identity with the place of its Elastic IP, and the rules of this node for it. The first
    row: headings. Empty without identities.
    """
    found = status.get("identities", ())
    if not found:
        return []
    rows = [["identity", "Elastic IP", "is with", "routes with", "follows", "rules here"]]
    for each in found:
        old = each["read_s_ago"] is None
        rows.append(
            [
                each["identity"],
                each["public"] or each["allocation"],
                "not read" if old else each["holder"] or "nobody",
                each.get("carrier") or "several, or unknown",
                YES[each.get("follows")],
                (each["state"] or "not read") if each["address"] else "none: no address for it here",
            ]
        )
    return rows


def routes(status: Answer) -> list[list[str]]:
    """Each route with its home, its owner, and whether packets get out by it. The first row: headings."""
    rows = [["route", "home", "owner", "forwards", "read"]]
    for claim in status["claims"]:
        owner = claim["owner"] or claim["target"] or "no target"
        owner = owner if claim["state"] == "active" else f"{owner} ({claim['state']})"
        rows.append(
            [
                f"{claim['route_table']} {claim['destination']}",
                claim["home"],
                f"last seen {owner}" if claim["old"] else owner,
                YES[claim["served"]],
                f"{age(claim['read_s_ago'])} ago" + (" OLD" if claim["old"] else ""),
            ]
        )
    return rows
