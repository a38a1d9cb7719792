# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of this moment, as the decision and the status use it."""

from __future__ import annotations

from dataclasses import replace

from ..model.evidence import NO_SIGN, Evidence
from ..policy import fitness
from ..policy.case import Case
from .parts import Parts


def case_now(parts: Parts) -> Case:
    """A tick of this moment, for an order that asks what the policy would do."""
    return fitness.assess(parts.config, parts.memory, gather(parts, parts.runtime.now()))


def gather(parts: Parts, now: float, awake_at: float | None = None) -> Evidence:
    """Everything that a decision rests on.

    ``now``: seconds of ``Runtime.now``. ``awake_at``: the moment of the tick before this one.
    """
    collector = parts.collector
    signs = parts.signs.read(collector.instances, parts.witness.view)
    parts.liveness.note(signs.flares.get(parts.config.self_name, NO_SIGN))
    marks, void_marks = parts.judge_marks(signs.marks)
    return Evidence(
        now=now,
        awake_at=awake_at,
        me=replace(collector.me, state=parts.drain.state, interruption=parts.drain.interruption),
        heard=parts.transport.heard(),
        routes=collector.routes,
        instances=collector.instances,
        busy=parts.executor.busy(now),
        paused=parts.paused,
        ignored_pauses=parts.ignored_pauses,
        homes=collector.homes,
        tables_at=collector.tables_at,
        witness=parts.witness.view,
        ordered=parts.ordered,
        fence_ordered=parts.fence_ordered,
        flares=signs.flares,
        items=signs.items,
        marks=marks,
        void_marks=void_marks,
        refused=parts.executor.unfit(now),
        addresses=collector.elastic_ips,
        addresses_refused=collector.reader.elastic.refused,
        flows=collector.sync.flows,
        unsynchronised=collector.sync.problem,
        strangers=collector.impostors.strangers,
    )
