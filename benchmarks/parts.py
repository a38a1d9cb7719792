# SPDX-License-Identifier: GPL-3.0-or-later
"""All parts of the benchmarks, in the order in which they are measured."""

from __future__ import annotations

from . import alarms, attacks, flows, footprint, forwarding, outage, proxy, rollout, scale, surface, sync

_ALL = (footprint, forwarding, scale, alarms, rollout, attacks, surface, proxy, flows, sync, outage)
PARTS = {module.PART.name: module.PART for module in _ALL}
