# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened, one line each: in the journal, in the history file, and the last ones in memory for ``status`` (law L11)."""

from __future__ import annotations

import logging
import time
import typing as t
from collections import deque

from ..model.cluster import HEALTHY, UNKNOWN, Memory, PeerMemory, Plan

LOG = logging.getLogger("nat-failover")
KEPT = 200  # events


class Chronicle:
    """Keeps the events, and finds in each decision what is new."""

    def __init__(self, clock: t.Callable[[], float]) -> None:
        self.events: t.Deque[t.Dict[str, t.Any]] = deque(maxlen=KEPT)
        self.drift: t.Mapping[str, str] = {}
        self.withheld: t.Mapping[str, str] = {}
        self._clock = clock
        self._late: t.Dict[str, float] = {}  # peer -> the suspicion that has been told

    def record(self, kind: str, text: str, level: int = logging.INFO, **more: t.Any) -> None:
        """One event. ``more`` goes into the history file and ``status --json`` only."""
        event = {"at": round(time.time(), 3), "monotonic": round(self._clock(), 3), "kind": kind, "text": text, **more}
        self.events.append(event)
        LOG.log(level, "%s: %s", kind, text, extra={"event": event})

    def follow(self, before: Memory, after: Memory, plan: Plan, now: float, late_after: float) -> None:
        """Record what a decision brought: changed verdicts, silences of ``late_after`` seconds, drift, and what was withheld."""
        for name, peer in after.peers.items():
            self._lateness(name, peer, now, late_after)
            old = before.peers.get(name)
            if old is None or old.verdict != peer.verdict:
                text = "%s is %s: %s" % (name, peer.verdict, peer.evidence or "not heard yet")
                level = logging.INFO if peer.verdict in (HEALTHY, UNKNOWN) else logging.WARNING
                self.record("verdict", text, level, peer=name, verdict=peer.verdict)
        withheld = {str(action): "%s; withheld: %s" % (action.reason, plan.forbidden) for action in plan.withheld}
        for kind, new, old_lines in (("drift", plan.drift, self.drift), ("withheld", withheld, self.withheld)):
            for key in new.keys() - old_lines.keys():
                self.record(kind, new[key], logging.WARNING)
        self.drift, self.withheld = plan.drift, withheld

    def _lateness(self, name: str, peer: PeerMemory, now: float, late_after: float) -> None:
        """A line for each silence that is more than a lost packet: also the near misses are worth knowing."""
        began = peer.suspected_at
        if began is None or peer.verdict != HEALTHY or now - began < late_after or self._late.get(name) == began:
            return
        self._late[name] = began
        self.record(
            "late", "%s: no heartbeat for %d ms, probing by UDP and ICMP" % (name, (now - began) * 1000), peer=name
        )
