# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of all tests: properties are checked with the same examples at each run, however busy the machine is."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "gate",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("gate")
