# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interruptions that EC2 announces for this instance, and whether this node drains for them. Pure.

EC2 names a time of day for a scheduled event, so ``pressing`` compares the wall clock with such a
time. The caller reads that clock. A wrong clock moves a planned hand-over, which costs nothing. An
interruption that EC2 wants at once is not compared with any clock.
"""

from __future__ import annotations

import json
import typing as t
from email.utils import parsedate_to_datetime

from ..model.cluster import ACTIVE, DRAINED, DRAINING
from ..model.settings import Handover
from ..model.text import plain
from . import pause

SPOT, AUTOSCALING, REBALANCE, SCHEDULED, UNREADABLE = "spot", "autoscaling", "rebalance", "scheduled", "unreadable"
# Where each kind is found below /latest/meta-data/ (EC2 User Guide, "Instance metadata
# categories").
PATHS: t.Mapping[str, str] = {
    SPOT: "spot/instance-action",
    AUTOSCALING: "autoscaling/target-lifecycle-state",
    REBALANCE: "events/recommendations/rebalance",
    SCHEDULED: "events/maintenance/scheduled",
}
# Target states of an Auto Scaling group in which the instance is switched off. Detached and Standby
# leave it running.
GOING = ("Terminated", "Warmed:Terminated", "Warmed:Stopped", "Warmed:Hibernated")
LONGEST_TEXT = 150  # characters. A heartbeat has room for little more


class Interruption(t.NamedTuple):
    """One announcement of EC2.

    ``text`` is for operators and unique. Times are seconds since the epoch.
    """

    kind: str
    text: str
    begins: float | None = None
    ends: float | None = None


def read(answers: t.Mapping[str, str | None]) -> tuple[Interruption, ...]:
    """The interruptions in answers of the metadata service.

    ``answers``: kind -> body, None where the service has nothing. An answer that is not understood
    becomes an interruption of the kind UNREADABLE, for which no node drains.
    """
    found: list[Interruption] = []
    for kind, body in answers.items():
        if body is None:
            continue
        try:
            found.extend(READERS[kind](body))
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
            found.append(
                Interruption(
                    UNREADABLE,
                    "EC2's answer to {} is not understood and ignored: {}".format(
                        PATHS[kind], " ".join(body.split())[:60]
                    ),
                )
            )
    return tuple(each._replace(text=plain(each.text)[:LONGEST_TEXT]) for each in found)


def pressing(settings: Handover, interruptions: t.Iterable[Interruption], now: float) -> tuple[Interruption, ...]:
    """The interruptions for which this node drains now. ``now``: seconds since the epoch."""
    return tuple(each for each in interruptions if _presses(settings, each, now))


def _presses(settings: Handover, interruption: Interruption, now: float) -> bool:
    """Whether this node drains now for an interruption, by its kind."""
    due = interruption.begins is not None and now >= interruption.begins - settings.scheduled_lead
    over = interruption.ends is not None and now > interruption.ends
    return {
        SPOT: True,
        AUTOSCALING: True,
        REBALANCE: settings.rebalance == "drain",
        SCHEDULED: due and not over,
        UNREADABLE: False,
    }[interruption.kind]


def state(why: str, owned: int | None) -> str:
    """The state that a node announces: active, draining or drained.

    ``why``: the reason for its drain, "" = none. ``owned``: the number of routes that target it,
    None = not known yet.
    """
    if not why:
        return ACTIVE
    return DRAINED if owned == 0 else DRAINING


# --- what EC2 writes ------------------------------------------------------------------------------


def _spot(body: str) -> list[Interruption]:
    """``{"action": "terminate", "time": "2026-01-31T12:00:00Z"}``.

    The action is stop, terminate or hibernate.
    """
    data = json.loads(body)
    return [Interruption(SPOT, "spot interruption: {} at {}".format(_word(data["action"]), data["time"]))]


def _autoscaling(body: str) -> list[Interruption]:
    """One word, such as ``InService``."""
    target = body.strip()
    return [Interruption(AUTOSCALING, f"Auto Scaling: {target}")] if target in GOING else []


def _rebalance(body: str) -> list[Interruption]:
    """``{"noticeTime": "2026-01-31T12:00:00Z"}``."""
    return [Interruption(REBALANCE, "rebalance recommended at {}".format(_word(json.loads(body)["noticeTime"])))]


def _scheduled(body: str) -> list[Interruption]:
    """A list of ``{"Code": "system-reboot", "EventId": "instance-event-1", ...}``.

    ``NotBefore`` and ``NotAfter`` are times such as ``31 Jan 2026 12:00:00 GMT``.
    """
    return [
        Interruption(
            SCHEDULED,
            "{} scheduled for {} ({})".format(
                _word(event["Code"]), pause.value(_time(event["NotBefore"])), event.get("EventId", "no id")
            ),
            _time(event["NotBefore"]),
            _time(event["NotAfter"]) if event.get("NotAfter") else None,
        )
        for event in json.loads(body)
        if event.get("State", "active") == "active"
    ]


def _word(value: t.Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a word")
    return value


def _time(text: str) -> float:
    moment = parsedate_to_datetime(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment.timestamp()


READERS: t.Mapping[str, t.Callable[[str], list[Interruption]]] = {
    SPOT: _spot,
    AUTOSCALING: _autoscaling,
    REBALANCE: _rebalance,
    SCHEDULED: _scheduled,
}
