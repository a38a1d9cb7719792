# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of CPUs, as the kernel writes them."""

from __future__ import annotations

import re

ALL, NONE = "all", "none"  # Nat.receive_cpus, beside a list of CPUs
MOST = 4095  # the largest number of a CPU that is understood


def cpus_of(text: str) -> frozenset[int]:
    """The CPUs of a list as the kernel writes it, such as ``0-2,5``. Raises ``ValueError``."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch("([0-9]{1,4})(?:-([0-9]{1,4}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MOST:
            raise ValueError(text)
        found.update(range(first, last + 1))
    return frozenset(found)
