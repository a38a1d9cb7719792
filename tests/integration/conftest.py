# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of tests against the served API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.loaders import JSONFileLoader, create_loader

from lab.running_api import RunningApi, running_api


class Whole(JSONFileLoader):
    """Not botocore's own class, so that the engine does not thin out what the operator's clients share (see ``aws/botocore_subset.py``)."""


@pytest.fixture(scope="session")
def one_loader() -> Iterator[None]:
    """boto3 reads EC2's model of 3 MB for each client anew, which costs more than a test: let all share one reading."""
    loader = create_loader()
    loader.file_loader = Whole()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", lambda _search_path: loader)
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
