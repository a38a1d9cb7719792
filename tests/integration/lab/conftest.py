# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs with bare NAT nodes that forward the plain way."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.testing import RunningLab, forward, running_lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here makes network namespaces."""
    for item in items:
        if "integration/lab" in item.nodeid:
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                raise pytest.UsageError("tests/integration/lab makes network namespaces: run it as root")


@pytest.fixture
def lab() -> Iterator[RunningLab]:
    """Two zones; the NAT nodes forward and EC2 lets them."""
    with running_lab(on_boot=forward, source_dest_check=False) as running:
        yield running
