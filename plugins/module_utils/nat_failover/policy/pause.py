# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pause: the whole cluster observes and reports and writes nothing, until a time.

Pure. The caller reads the wall clock.

A pause is the tag ``nat-failover:pause`` on any node's instance. Its value is the time at which it
ends, in UTC. Operators on several machines agree on that end, so it cannot be monotonic.
"""

from __future__ import annotations

import re
import typing as t
from datetime import datetime, timezone

from ..errors import NatFailoverError
from ..model.cluster import TAG_PAUSE, InstanceView

FORMAT = "%Y-%m-%dT%H:%M:%SZ"
LONGEST = 7 * 86400.0  # seconds. A longer pause is a cluster that nobody watches
CLOCKS_DIFFER = 3600.0  # seconds by which the clocks of an operator and of a node may differ
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """``90``, ``90s``, ``30m``, ``2h`` or ``1d`` in seconds.

    Raises NatFailoverError for anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    length = float(match.group(1)) * UNITS[match.group(2) or "s"] if match else 0.0
    if not 0 < length <= LONGEST:
        raise NatFailoverError(f"a pause of {text!r} is not possible; choose up to 7 days, e.g. 30m or 2h")
    return length


def value(until: float) -> str:
    """The tag's value for an end (seconds since the epoch)."""
    return datetime.fromtimestamp(int(until), timezone.utc).strftime(FORMAT)


def end(text: str) -> float | None:
    """The end that a tag's value names, in seconds since the epoch. None if it is no such time."""
    try:
        return datetime.strptime(text.strip(), FORMAT).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def paused(instances: t.Mapping[str, InstanceView], now: float) -> str:
    """The pause in words, "" = the cluster is not paused. ``now``: seconds since the epoch.

    A value that is no time pauses nothing, and ``unreadable`` reports it. A typing error must not
    switch the failover off for good.
    """
    for name, text in _tags(instances):
        if _refusal(text, now) == "" and (end(text) or 0.0) > now:
            return f"the cluster is paused until {text} (tag on {name})"
    return ""


def ignored(instances: t.Mapping[str, InstanceView], now: float) -> dict[str, str]:
    """Tags that pause nothing: name of the tag and node -> line for the operator.

    ``now``: seconds since the epoch.
    """
    refusals = {(name, text): _refusal(text, now) for name, text in _tags(instances)}
    return {
        f"{TAG_PAUSE} on {name}": f"the tag {TAG_PAUSE}={text!r} on {name} {refusal} and pauses nothing"
        for (name, text), refusal in refusals.items()
        if refusal
    }


def _refusal(text: str, now: float) -> str:
    """Why a tag's value is no end of a pause, "" if it is one.

    One tag must not switch the failover off for good.
    """
    until = end(text)
    if until is None:
        return f"is no time (write e.g. {value(now)})"
    if until > now + LONGEST + CLOCKS_DIFFER:
        return "ends in more than 7 days (write an earlier time)"
    return ""


def _tags(instances: t.Mapping[str, InstanceView]) -> list[tuple[str, str]]:
    return sorted([(name, view.tags[TAG_PAUSE]) for name, view in instances.items() if TAG_PAUSE in view.tags])
