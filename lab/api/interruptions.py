# SPDX-License-Identifier: GPL-3.0-or-later
"""Announcements of EC2 to an instance, as its metadata service writes them.

AWS: EC2 User Guide, "Spot Instance interruption notices", "EC2 instance rebalance recommendations", "Scheduled events for Amazon EC2 instances";
EC2 Auto Scaling User Guide, "Retrieve the target lifecycle state through instance metadata".
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ..errors import Prerequisite

SPOT, REBALANCE, SCHEDULED, ASG, NONE = "spot", "rebalance", "scheduled", "asg", "none"
ACTIONS = ("terminate", "stop", "hibernate")
CODES = ("instance-reboot", "system-reboot", "system-maintenance", "instance-retirement", "instance-stop")
EVENT_FORMAT = "%d %b %Y %H:%M:%S GMT"


@dataclass
class Notices:
    """The announcements for one instance. None answers 404, which is AWS's "nothing is planned"; a list of events is there always."""

    spot_action: dict[str, Any] | None = None
    rebalance: dict[str, Any] | None = None
    lifecycle_state: str | None = None
    scheduled: list[dict[str, str]] = field(default_factory=list)
    history: list[dict[str, str]] = field(default_factory=list)

    def give(self, what: str, **options: Any) -> None:
        """``what``: spot (action, in_s), rebalance, scheduled (code, in_s, for_s), asg (state), or none, which takes all back."""
        known = {
            SPOT: ("action", "in_s"),
            REBALANCE: (),
            SCHEDULED: ("code", "in_s", "for_s"),
            ASG: ("state",),
            NONE: (),
        }
        if what not in known:
            raise Prerequisite(f"no notice {what!r}; what= one of {', '.join(known)}")
        if set(options) - set(known[what]):
            raise Prerequisite(f"{what} takes {', '.join(known[what]) or 'no options'}, not {', '.join(options)}")
        getattr(self, f"_{what}")(**options)

    def _spot(self, action: str = ACTIONS[0], in_s: float = 120) -> None:
        if action not in ACTIONS:
            raise Prerequisite(f"action= one of {', '.join(ACTIONS)}, not {action!r}")
        self.spot_action = {"action": action, "time": _iso(time.time() + in_s)}

    def _rebalance(self) -> None:
        self.rebalance = {"noticeTime": _iso(time.time())}

    def _scheduled(self, code: str = "system-reboot", in_s: float = 3600, for_s: float = 7200) -> None:
        if code not in CODES:
            raise Prerequisite(f"code= one of {', '.join(CODES)}, not {code!r}")
        begins = time.time() + in_s
        self.scheduled.append(
            {
                "NotBefore": _event_time(begins),
                "Code": code,
                "Description": f"scheduled {code.partition('-')[2]}",
                "EventId": f"instance-event-{len(self.scheduled) + len(self.history):017x}",
                "NotAfter": _event_time(begins + for_s),
                "State": "active",
            }
        )

    def _asg(self, state: str = "Terminated") -> None:
        self.lifecycle_state = state

    def _none(self) -> None:
        self.history += [
            {**event, "State": "canceled", "Description": f"[Canceled] {event['Description']}"}
            for event in self.scheduled
        ]
        self.spot_action = self.rebalance = self.lifecycle_state = None
        self.scheduled = []


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _event_time(moment: float) -> str:
    return time.strftime(EVENT_FORMAT, time.gmtime(moment))
