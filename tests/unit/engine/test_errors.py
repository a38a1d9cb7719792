# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that reach an operator: one line with the value and the remedy."""

from __future__ import annotations

import pytest

from nat_failover.errors import ConfigError, Ec2Error, NatFailoverError


def test_a_config_error_names_key_value_and_remedy():
    error = ConfigError("fence.after_s", 3, "is too short", "raise it")
    assert str(error) == "fence.after_s: is too short (got 3); raise it"
    assert (error.key, error.value, error.remedy) == ("fence.after_s", 3, "raise it")


@pytest.mark.parametrize(
    ("value", "problem", "shown", "text"),
    [
        (None, "is missing", False, "self: is missing; set it"),
        ("x y", "invalid name 'x y'", True, "self: invalid name 'x y'; set it"),
        (3, "is none of 3 names", False, "self: is none of 3 names (got 3); set it"),
    ],
)
def test_a_value_is_shown_once_and_a_missing_one_never(value, problem, shown, text):
    assert str(ConfigError("self", value, problem, "set it", shown=shown)) == text


@pytest.mark.parametrize(
    "remedy, text",
    [
        ("", "ec2:ReplaceRoute on rtb-1: You shall not (UnauthorizedOperation)"),
        ("allow it", "ec2:ReplaceRoute on rtb-1: You shall not (UnauthorizedOperation); allow it"),
    ],
)
def test_an_ec2_error_names_action_resource_code_and_remedy(remedy, text):
    error = Ec2Error(
        "ec2:ReplaceRoute", "rtb-1", "UnauthorizedOperation", "You shall not.", retryable=False, remedy=remedy
    )
    assert str(error) == text
    assert (error.action, error.resource, error.code) == ("ec2:ReplaceRoute", "rtb-1", "UnauthorizedOperation")
    assert not error.retryable


@pytest.mark.parametrize("kind", [ConfigError, Ec2Error])
def test_one_base_catches_all(kind):
    assert issubclass(kind, NatFailoverError)
