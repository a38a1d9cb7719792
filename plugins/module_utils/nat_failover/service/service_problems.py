# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The problems of services that claims depend on, such as a proxy."""

from __future__ import annotations

import typing as t

from ..model.evidence import HEALTHY, NOTHING_HEARD, Evidence
from ..model.memory import ServiceMemory
from ..model.problem import Problem
from ..policy import services
from .parts import Parts


def problems(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    """The services that claims depend on, here and at the peers that are well."""
    name, memory, now = parts.config.self_name, parts.memory, evidence.now
    unwell = services.unwell(parts.config, memory, now)
    for each in parts.config.services:
        details = {"service": each.name, "file": each.file}
        moves = f"only routes to {', '.join(each.destinations)} depend on it"
        if each.name in unwell:
            known = memory.services.get(each.name)
            text = f"the service {each.name} does not work here: {_service_now(parts, each.name, known, now)}; {moves}"
            yield Problem("service_unwell", f"{each.name} on {name}", text, details={**details, "node": name})
        for peer, seen in memory.peers.items():
            report = evidence.heard.get(peer, NOTHING_HEARD).report
            if seen.verdict == HEALTHY and report is not None and each.name in report.unwell:
                text = f"{peer} reports that its service {each.name} does not work; {moves}"
                yield Problem("service_unwell", f"{each.name} on {peer}", text, details={**details, "node": peer})


def _service_now(parts: Parts, name: str, known: ServiceMemory | None, now: float) -> str:
    problem = parts.collector.service_check.problems.get(name)
    if problem or known is None or known.well_since is None:
        return problem or "its last readings were bad"
    left = services.hold(parts.config, known.failures) - (now - known.well_since)
    return f"it works again, and is trusted in {max(0.0, left):.0f} s, after {known.failures} failures"
