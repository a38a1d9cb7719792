# SPDX-License-Identifier: GPL-3.0-or-later
"""One fresh API per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.loaders import create_loader

from lab.api.testing import RunningApi, running_api


@pytest.fixture(scope="session", autouse=True)
def one_loader() -> Iterator[None]:
    """boto3 reads EC2's model of 3 MB for each client anew, which costs more than a test: let all share one reading."""
    loader = create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", lambda _search_path: loader)
        yield


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


@pytest.fixture
def ec2(api: RunningApi) -> Any:
    """The operator's EC2 client."""
    return api.client()


@pytest.fixture
def dynamodb(api: RunningApi) -> Any:
    """The operator's DynamoDB client."""
    return api.client("dynamodb")


@pytest.fixture
def refusal() -> Callable[..., str]:
    """``refusal(call, **parameters)``: the error code and message that the call is refused with."""

    def refuse(call: Callable[..., Any], **parameters: Any) -> str:
        with pytest.raises(ClientError) as caught:
            call(**parameters)
        error = caught.value.response["Error"]
        return f"{error['Code']}: {error['Message']}"

    return refuse
