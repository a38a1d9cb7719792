# SPDX-License-Identifier: GPL-3.0-or-later
"""All parts of the benchmarks, in the order in which they are measured."""

from __future__ import annotations

from . import alarms, footprint, outage, rollout, scale

PARTS = {part.name: part for part in (footprint.PART, scale.PART, alarms.PART, rollout.PART, outage.PART)}
