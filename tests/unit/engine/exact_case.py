# SPDX-License-Identifier: GPL-3.0-or-later
"""A case of the policy whose moments binary fractions meet exactly: multiples of 1/8 second."""

from __future__ import annotations

from dataclasses import replace

from nat_failover.policy.case import Case as PolicyCase

from .policy_case import ME, PEER, Case

A_BIT = 0.125
SILENT_AFTER, INTERVAL = 0.5, 0.125
LATE = 1.5 * INTERVAL


def exact(names=(ME, PEER), **changes):
    """A case with a heartbeat every 1/8 s and silence after 1/2 s."""
    case = Case(names, **changes)
    heartbeat = replace(case.config.heartbeat, interval=INTERVAL, silent_after=SILENT_AFTER)
    case.config = replace(case.config, heartbeat=heartbeat)
    return case


def about(case):
    """The evidence and the memory of a case as the policy gets them, without a decision before."""
    return PolicyCase.of(case.config, case.memory, case.evidence())
