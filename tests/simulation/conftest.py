# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of the simulation's tests. Their clock is virtual: how long they take in real time says nothing."""

from __future__ import annotations

import pytest

PATIENCE = (
    900  # seconds for a test that names none: beside tests on a real clock it gets what they leave of the processors
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test has time."""
    for item in items:
        if "tests/simulation" in item.nodeid and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PATIENCE))
