# SPDX-License-Identifier: GPL-3.0-or-later
"""End to end: the real service, real packets, the EC2 stand-in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.e2e.cluster import Cluster, running_cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here makes network namespaces."""
    for item in items:
        if "integration/e2e" in item.nodeid:
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                raise pytest.UsageError("tests/integration/e2e makes network namespaces: run it as root")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two zones, the service on both NAT nodes, everything healthy and at home."""
    with running_cluster(tmp_path) as running:
        yield running
