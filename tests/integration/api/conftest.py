# SPDX-License-Identifier: GPL-3.0-or-later
"""One fresh API per test."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lab.api import backend
from lab.api.identity import OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY
from lab.api.testing import RunningApi, running_api

ELSEWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="session", autouse=True)
def frozen() -> None:
    """Keep the collector away from moto's and botocore's many objects: each boto3 client would cost 0.2 s of it."""
    gc.freeze()


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


class Clients:
    """The operator's boto3 clients, made once (that costs far more than a test) and pointed at each test's API."""

    def __init__(self) -> None:
        self.endpoint = ELSEWHERE
        self._clients: dict[str, Any] = {}

    def get(self, service: str) -> Any:
        if service not in self._clients:
            config = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=10)
            client = boto3.session.Session(OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY).client(
                service, region_name=backend.REGION, endpoint_url=ELSEWHERE, config=config
            )
            client.meta.events.register("before-sign", self._move)
            self._clients[service] = client
        return self._clients[service]

    def _move(self, request: Any, **_more: Any) -> None:
        request.url = request.url.replace(ELSEWHERE, self.endpoint, 1)


@pytest.fixture(scope="session")
def clients() -> Clients:
    return Clients()


@pytest.fixture
def ec2(api: RunningApi, clients: Clients) -> Any:
    """The operator's EC2 client."""
    clients.endpoint = api.endpoint
    return clients.get("ec2")


@pytest.fixture
def dynamodb(api: RunningApi, clients: Clients) -> Any:
    """The operator's DynamoDB client."""
    clients.endpoint = api.endpoint
    return clients.get("dynamodb")


@pytest.fixture
def refusal() -> Callable[..., str]:
    """``refusal(call, **parameters)``: the error code and message that the call is refused with."""

    def refuse(call: Callable[..., Any], **parameters: Any) -> str:
        with pytest.raises(ClientError) as caught:
            call(**parameters)
        error = caught.value.response["Error"]
        return f"{error['Code']}: {error['Message']}"

    return refuse
