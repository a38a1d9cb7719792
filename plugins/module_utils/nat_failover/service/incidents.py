# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Incidents: the events from the first sign of trouble until no problem stands, under one id."""

from __future__ import annotations

import logging
import typing as t
from datetime import datetime, timezone

from ..model.problem import LEVELS, WELL, Problem, worst
from ..runtime.base import Runtime

LOG = logging.getLogger("nat-failover")
CALM = 5.0  # seconds without a problem, and without such an event, that end an incident
AFTER_START = 10.0  # seconds in which the problems of a start are no incident
EVERY = 1.0  # seconds between two comparisons during an incident
EVERY_IN_CALM = 10.0  # and without one
LATE = "late"
# Kinds that begin an incident although they are no warnings.
# "mend" and "return": somebody has removed or moved a route, unless an incident stands.
BEGIN = (LATE, "draining", "fence", "mend", "return")
# Kinds that begin one also right after the start of this service, when its first checks may fail.
AT_START = (LATE, "verdict", "fence", "fenced_by", "draining")
# Codes of problems that no other event reports: they begin and end with one of their own.
REPORTED = ("paused", "peer_deaf", "old_reading", "reload_refused", "history_unwritten")
# Warnings that begin none: they are about this service, not about the cluster.
ASIDE = ("reload_refused", "abandoned", "replaced", "notice")


class Incidents:
    """``id`` is the moment of the first event in UTC, or "" while there is no incident."""

    def __init__(self, runtime: Runtime, emit: t.Callable[..., None]) -> None:
        """``emit`` is ``EventLog.emit``."""
        self.id = ""
        self.began: float | None = None  # monotonic seconds
        self.last: dict[str, t.Any] | None = None  # the incident before: id, lasted_s, worst, text
        self.seen: dict[tuple[str, str], float] = {}  # code and subject of each problem -> its begin
        self._runtime = runtime
        self._emit = emit
        self._started = runtime.now()
        self._stirred_at = float("-inf")  # the last event that may belong to an incident
        self._compared_at = float("-inf")
        self._failed = False  # a comparison has failed, which was reported
        self._level = WELL
        self._text = ""  # of the first event that is more than a late heartbeat
        self._told = False  # there was one
        self._dark: dict[str, float] = {}  # claim -> since when it leads nowhere

    @property
    def text(self) -> str:
        """The first event of this incident that is more than a late heartbeat, if there was one."""
        return self._text

    def notice(self, kind: str, text: str, level: int) -> None:
        """Begin an incident with an event that is a sign of trouble."""
        if not (kind in BEGIN or (level >= logging.WARNING and kind not in ASIDE)):
            return
        now = self._runtime.now()
        if now - self._started < AFTER_START and kind not in AT_START:
            return
        self._stirred_at = now
        if not self.id:
            moment = datetime.fromtimestamp(self._runtime.wall_time(), timezone.utc)
            self.id, self.began = moment.strftime("%Y%m%d-%H%M%S"), now
            self._level, self._text, self._told = WELL, text, kind != LATE
        elif not self._told and kind != LATE:
            self._text, self._told = text, True

    def compare(self, now: float, find: t.Callable[[], t.Sequence[Problem]]) -> None:
        """Follow the problems that ``find()`` returns, if it is time.

        They are for operators only, so a defect in them must not end the failover.
        """
        if now - self._compared_at < (EVERY if self.id else EVERY_IN_CALM):
            return
        self._compared_at = now
        try:
            self.follow(now, find())
        except Exception:  # pylint: disable=broad-except
            if not self._failed:
                LOG.exception("incidents: unexpected; the failover goes on without them")
            self._failed = True

    def follow(self, now: float, problems: t.Sequence[Problem]) -> None:
        """Compare the problems of now with those of before. ``now``: seconds of ``Runtime.now``."""
        before = self.seen
        keys = [(each.code, each.subject) for each in problems]
        self.seen = {key: before.get(key, now) for key in keys}
        self._report(now, before, problems)
        self._follow_dark(now, {each.subject: each.text for each in problems if each.code == "dark"})
        standing = [each for each in problems if each.level > WELL]
        self._level = max(self._level, worst(standing))
        if standing:
            self._stirred_at = now
            if not self.id and now - self._started >= AFTER_START:
                self._emit("problem", standing[0].text, logging.WARNING, code=standing[0].code)
        elif self.id and now - self._stirred_at >= CALM:
            self._end(now)

    def since(self, problem: Problem, now: float) -> float | None:
        """Seconds that a problem has lasted, as far as this node has seen it."""
        began = self.seen.get((problem.code, problem.subject))
        return problem.since_s if began is None or problem.since_s is not None else now - began

    def _report(self, now: float, before: t.Mapping[tuple[str, str], float], problems: t.Sequence[Problem]) -> None:
        """Report the begin and the end of problems that no other event reports."""
        for code, subject in before.keys() - self.seen.keys():
            if code in REPORTED:
                lasted = now - before[code, subject]
                text = f"{code} {subject}".strip() + f" is over after {lasted:.0f} s"
                self._emit("problem_ended", text, code=code, lasted_s=round(lasted, 1))
        for each in problems:
            if each.code in REPORTED and (each.code, each.subject) not in before:
                self._emit("problem", each.text, logging.WARNING, code=each.code)

    def _follow_dark(self, now: float, dark: t.Mapping[str, str]) -> None:
        """Report each route that begins or ceases to lead nowhere."""
        for claim in [claim for claim in self._dark if claim not in dark]:
            lasted = now - self._dark.pop(claim)
            text = f"{claim} leads out again after {lasted:.0f} s"
            self._emit("dark_ended", text, claim=claim, lasted_s=round(lasted, 1))
        for claim, text in dark.items():
            if claim not in self._dark:
                self._dark[claim] = now
                self._emit("dark", text, logging.ERROR, claim=claim)

    def _end(self, now: float) -> None:
        lasted = self._stirred_at - (self.began or now)
        details = {"lasted_s": round(lasted, 1), "worst": LEVELS[self._level]}
        self.last = {"id": self.id, **details, "text": self._text}
        self._emit("incident_ended", f"no problem is left after {lasted:.0f} s: {self._text}", **details)
        self.id, self.began = "", None
