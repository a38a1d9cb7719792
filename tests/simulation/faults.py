# SPDX-License-Identifier: GPL-3.0-or-later
"""All faults, as often as they are drawn. Their order is part of what a seed means."""

from __future__ import annotations

import random
import typing as t

from .apis import api, denied, partial
from .links import bursts, delay, isolate, loss, no_icmp, one_way, partition
from .machines import (
    crash,
    crash_service,
    freeze,
    nat_off,
    pause_service,
    reboot,
    restarts,
    ruin,
    service_away,
    uplink,
)
from .operators import ambush, clock, death_and_edit, drain, edit, lapse_and_edit, maintenance, pausing, planned_work
from .world import World

Fault = t.Callable[[World, random.Random, float], None]

FAULTS: tuple[Fault, ...] = (
    crash, crash, reboot, freeze, freeze, pause_service, crash_service, nat_off, uplink, uplink, partition, one_way, isolate, isolate, loss, no_icmp,
    api, api, denied, drain, pausing, maintenance, planned_work, ruin, edit,
    clock, lapse_and_edit, delay, delay, bursts, bursts, partial, service_away, restarts, ambush, ambush, death_and_edit,
)  # fmt: skip
