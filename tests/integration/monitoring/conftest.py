# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts, metrics and dashboard, checked by the programs that read them."""

from __future__ import annotations

import shutil

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Without promtool nothing here would be checked."""
    if shutil.which("promtool") is None:
        raise pytest.UsageError("promtool is not here: run `./dev test --only monitoring` as root, which installs it")
