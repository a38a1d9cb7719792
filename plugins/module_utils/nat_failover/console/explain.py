# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``nat-failover explain``: why each claim and each peer is as it is, and what comes next."""

from __future__ import annotations

import argparse
import json
import sys

from ..model.screen import age
from ..model.text import plain
from .ask import Answer, ask
from .words import unknown


def show(arguments: argparse.Namespace) -> int:
    """Print the explanations. Returns 0. Raises ``UsageError`` for a subject that is unknown."""
    answer = ask(arguments, {"do": "explain"})
    subjects = [item["subject"] for item in answer["items"]]
    if arguments.subject and arguments.subject not in subjects:
        raise unknown("peer or route table", arguments.subject, subjects)
    items = [item for item in answer["items"] if arguments.subject in ("", item["subject"])]
    if arguments.json:
        sys.stdout.write(json.dumps({**answer, "items": items}, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(plain(line) for item in items for line in lines(item)) + "\n")
    return 0


def lines(item: Answer) -> list[str]:
    """One explanation."""
    found = [item["now"]]
    if item["would"] and item["waits"]:
        met = f"; {item['met']} other conditions are met" if item["met"] else ""
        found.append(f"  next: {item['would']}, once these are gone{met}:")
    elif item["would"]:
        found.append(f"  next: {item['would']}, now")
    found += [f"  - {text}" for text in item["waits"]]
    for row in item["failures"]:
        found.append(
            f"  tried {row['attempts']} times, last {age(row['last_s_ago'])} ago, next in {age(row['next_s'])}: "
            f"{row['error']}"
        )
    return found
