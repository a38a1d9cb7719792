# SPDX-License-Identifier: GPL-3.0-or-later
"""One fresh API per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lab.running_api import RunningApi, running_api
from tests.integration.api.balanced_site import Answers, Site


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


@pytest.fixture
def site(one_loader: None) -> Iterator[Site]:
    """A place for balancers, with targets that answer as the test says."""
    answers = Answers()
    with running_api(probe=answers) as api:
        yield Site(api, answers)
