# SPDX-License-Identifier: GPL-3.0-or-later
"""One fresh API per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.api.testing import RunningApi, running_api


@pytest.fixture
def api() -> Iterator[RunningApi]:
    """The reference VPC, no IAM, transitions of 0.2 s."""
    with running_api() as running:
        yield running


@pytest.fixture
def iam() -> Iterator[RunningApi]:
    """The reference VPC with IAM enforced."""
    with running_api(enforce_iam=True) as running:
        yield running
