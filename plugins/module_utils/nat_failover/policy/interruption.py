# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand-over before the end: what EC2 has announced for this instance, and whether this node drains for it. Pure.

EC2 names times of day for what it plans, so here, and only here, the wall clock is compared with such a time; the caller reads it. A clock that is wrong
moves a planned hand-over, which costs nothing; what EC2 wants at once is not compared with any clock.
"""

from __future__ import annotations

import json
import typing as t
from email.utils import parsedate_to_datetime

from ..model.cluster import ACTIVE, DRAINED, DRAINING
from ..model.settings import Handover
from . import pause

SPOT, AUTOSCALING, REBALANCE, SCHEDULED, UNREADABLE = "spot", "autoscaling", "rebalance", "scheduled", "unreadable"
# Where each kind is found below /latest/meta-data/ (EC2 User Guide, "Instance metadata categories").
PATHS: t.Mapping[str, str] = {
    SPOT: "spot/instance-action",
    AUTOSCALING: "autoscaling/target-lifecycle-state",
    REBALANCE: "events/recommendations/rebalance",
    SCHEDULED: "events/maintenance/scheduled",
}
# Target states of an Auto Scaling group in which the instance is switched off. Detached and Standby leave it running.
GOING = ("Terminated", "Warmed:Terminated", "Warmed:Stopped", "Warmed:Hibernated")
LONGEST_TEXT = 150  # characters; a heartbeat has room for little more


class Notice(t.NamedTuple):
    """One thing that EC2 has announced. ``text`` is for operators, and tells it from others; times are seconds since the epoch."""

    kind: str
    text: str
    begins: t.Optional[float] = None
    ends: t.Optional[float] = None


def read(answers: t.Mapping[str, t.Optional[str]]) -> t.Tuple[Notice, ...]:
    """The notices in what the metadata service answered: kind -> body, None where it has nothing. What is not understood is a notice too."""
    found: t.List[Notice] = []
    for kind, body in answers.items():
        if body is None:
            continue
        try:
            found.extend(READERS[kind](body))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found.append(Notice(UNREADABLE, "not understood: %s: %s" % (PATHS[kind], " ".join(body.split())[:60])))
    return tuple(notice._replace(text=notice.text[:LONGEST_TEXT]) for notice in found)


def pressing(settings: Handover, notices: t.Iterable[Notice], now: float) -> t.Tuple[Notice, ...]:
    """The notices for which this node drains now. ``now``: seconds since the epoch."""
    return tuple(notice for notice in notices if _presses(settings, notice, now))


def _presses(settings: Handover, notice: Notice, now: float) -> bool:
    """The table: what each kind asks for."""
    due = notice.begins is not None and now >= notice.begins - settings.scheduled_lead
    over = notice.ends is not None and now > notice.ends
    return {
        SPOT: True,
        AUTOSCALING: True,
        REBALANCE: settings.rebalance == "drain",
        SCHEDULED: due and not over,
        UNREADABLE: False,
    }[notice.kind]


def state(why: str, owned: t.Optional[int]) -> str:
    """What a node announces: ``why`` it drains, if it does, and how many routes still point to it; None when it does not know yet."""
    if not why:
        return ACTIVE
    return DRAINED if owned == 0 else DRAINING


# --- what EC2 writes -------------------------------------------------------------------------------------------------------------


def _spot(body: str) -> t.List[Notice]:
    """``{"action": "terminate", "time": "2026-01-31T12:00:00Z"}``; the action is stop, terminate or hibernate."""
    data = json.loads(body)
    return [Notice(SPOT, "spot interruption: %s at %s" % (_word(data["action"]), data["time"]))]


def _autoscaling(body: str) -> t.List[Notice]:
    """One word, such as ``InService``."""
    target = body.strip()
    return [Notice(AUTOSCALING, "Auto Scaling: %s" % target)] if target in GOING else []


def _rebalance(body: str) -> t.List[Notice]:
    """``{"noticeTime": "2026-01-31T12:00:00Z"}``."""
    return [Notice(REBALANCE, "rebalance recommended at %s" % _word(json.loads(body)["noticeTime"]))]


def _scheduled(body: str) -> t.List[Notice]:
    """A list of ``{"Code": "system-reboot", "EventId": "instance-event-1", "NotBefore": "31 Jan 2026 12:00:00 GMT", "NotAfter": ..., "State": "active"}``."""
    return [
        Notice(
            SCHEDULED,
            "%s scheduled for %s (%s)"
            % (_word(event["Code"]), pause.value(_time(event["NotBefore"])), event.get("EventId", "no id")),
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


READERS: t.Mapping[str, t.Callable[[str], t.List[Notice]]] = {
    SPOT: _spot,
    AUTOSCALING: _autoscaling,
    REBALANCE: _rebalance,
    SCHEDULED: _scheduled,
}
