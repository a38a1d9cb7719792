# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances on which EC2 does not take a step of a fence, such as the stop of a one-time spot one."""

from __future__ import annotations

import typing as t

from ..aws import calls, codes
from ..errors import AwsError
from ..model.plan import FenceStep, Write

VALID = 3600.0  # seconds after which a step may be tried again: an operator may have corrected the cause
# The step of a fence -> the call that EC2 refuses
STEPS: t.Mapping[str, calls.Call] = {
    "stop": calls.STOP_INSTANCES,
    "force_stop": calls.STOP_INSTANCES,
    "reboot": calls.REBOOT_INSTANCES,
}


class UnfitInstances:
    """Keeps the refusals. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[float, str]] = {}
        self._standing: t.Mapping[tuple[str, str], str] = {}

    def note(self, wanted: Write | None, error: AwsError, now: float) -> bool:
        """Note the error of an action. Returns whether EC2 does not take this step on this instance."""
        if not isinstance(wanted, FenceStep):
            return False
        call = STEPS.get(wanted.step)
        if call is None or error.action != call.permission or codes.kind(error.code) not in codes.UNFIT:
            return False
        self._found[wanted.step, wanted.instance_id] = (now, str(error))
        self._standing = {key: why for key, (_at, why) in self._found.items()}
        return True

    def standing(self, now: float) -> t.Mapping[tuple[str, str], str]:
        """(step, instance id) -> why. The same object while nothing changes."""
        if any(now - at >= VALID for at, _why in self._found.values()):
            self._found = {key: each for key, each in self._found.items() if now - each[0] < VALID}
            self._standing = {key: why for key, (_at, why) in self._found.items()}
        return self._standing
