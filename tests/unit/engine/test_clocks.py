# SPDX-License-Identifier: GPL-3.0-or-later
"""Refused credentials: a wrong clock of this host is told from old credentials."""

from __future__ import annotations

import email.utils
import time

import pytest
from botocore.exceptions import ClientError

from nat_failover.aws import client

AGREES = "old (this host's clock agrees with that of AWS)"


def refusal(code: str, **headers: str) -> ClientError:
    error = {"Error": {"Code": code, "Message": "old"}, "ResponseMetadata": {"HTTPHeaders": headers}}
    return ClientError(error, "DescribeInstances")


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (0, AGREES),
        (50, AGREES),
        (-50, AGREES),
        (1800, "old (this host's clock is 30 min ahead of that of AWS)"),
        (-86_400, "old (this host's clock is 1440 min behind that of AWS)"),
    ],
)
@pytest.mark.parametrize("code", ["RequestExpired", "AuthFailure", "SignatureDoesNotMatch"])
def test_the_clock_is_compared_with_that_of_the_answer(code: str, ahead: int, told: str) -> None:
    date = email.utils.formatdate(time.time() - ahead, usegmt=True)
    assert client._failure(refusal(code, date=date)) == (code, told)


@pytest.mark.parametrize(
    "headers", [{}, {"date": ""}, {"date": "yesterday"}, {"date": "Mon, 99 Foo 2026 99:00:00 GMT"}]
)
def test_without_a_date_nothing_is_said_of_clocks(headers: dict[str, str]) -> None:
    assert client._failure(refusal("RequestExpired", **headers)) == ("RequestExpired", "old")


def test_other_refusals_have_nothing_to_do_with_clocks() -> None:
    date = email.utils.formatdate(time.time() - 9000, usegmt=True)
    assert client._failure(refusal("UnauthorizedOperation", date=date)) == ("UnauthorizedOperation", "old")
