# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of tests against the served API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import running_api as lab_api
from lab.running_api import RunningApi, running_api


@pytest.fixture(scope="session")
def one_loader() -> Iterator[None]:
    """Also clients that a test or the engine makes share the one reading of those of the lab."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", lambda _search_path: lab_api.one_loader())
        yield


@pytest.fixture
def api(one_loader: None) -> Iterator[RunningApi]:
    """The reference VPC, no IAM, transitions of 0.2 s."""
    with running_api() as running:
        yield running


@pytest.fixture
def iam(one_loader: None) -> Iterator[RunningApi]:
    """The reference VPC with IAM enforced."""
    with running_api(enforce_iam=True) as running:
        yield running
