# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pause: observe and report, write nothing; for the whole cluster, until a time. Pure, but for the wall clock that the caller reads.

A pause is the tag ``nat-failover:pause`` on any node's instance; its value is the time at which it ends, in UTC. It is the only time of day
in the product: an end that operators on several machines agree on cannot be monotonic.
"""

from __future__ import annotations

import calendar
import re
import time
import typing as t

from ..errors import NatFailoverError
from ..model.cluster import TAG_PAUSE, InstanceView

FORMAT = "%Y-%m-%dT%H:%M:%SZ"
LONGEST = 7 * 86400.0  # seconds: a longer pause is a node that nobody watches
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """``90``, ``90s``, ``30m``, ``2h`` or ``1d`` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    length = float(match.group(1)) * UNITS[match.group(2) or "s"] if match else 0.0
    if not 0 < length <= LONGEST:
        raise NatFailoverError("a pause of %r is not possible; choose up to 7 days, e.g. 30m or 2h" % text)
    return length


def value(until: float) -> str:
    """The tag's value for an end (seconds since the epoch)."""
    return time.strftime(FORMAT, time.gmtime(until))


def end(text: str) -> t.Optional[float]:
    """The end that a tag's value names; None if it is no such time."""
    try:
        return float(calendar.timegm(time.strptime(text.strip(), FORMAT)))
    except ValueError:
        return None


def paused(instances: t.Mapping[str, InstanceView], now: float) -> str:
    """In words, who has paused the cluster until when; empty when nobody has. ``now``: seconds since the epoch.

    A value that is no time pauses nothing (``unreadable`` tells it): a slip must not switch the failover off for good.
    """
    for name, text in _tags(instances):
        until = end(text)
        if until is not None and until > now:
            return "the cluster is paused until %s (tag on %s)" % (text, name)
    return ""


def unreadable(instances: t.Mapping[str, InstanceView]) -> t.Dict[str, str]:
    """Tags that do not name a time, by node: to be reported."""
    return {
        "%s on %s" % (TAG_PAUSE, name): "the tag %s=%r on %s is no time and pauses nothing; write e.g. %s"
        % (TAG_PAUSE, text, name, value(0))
        for name, text in _tags(instances)
        if end(text) is None
    }


def _tags(instances: t.Mapping[str, InstanceView]) -> t.List[t.Tuple[str, str]]:
    return sorted((name, view.tags[TAG_PAUSE]) for name, view in instances.items() if TAG_PAUSE in view.tags)
