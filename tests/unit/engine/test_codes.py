# SPDX-License-Identifier: GPL-3.0-or-later
"""The kind of each error code, also of codes that the table does not name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.aws import client, codes, ec2

BOUNDED = settings(max_examples=300, derandomize=True, deadline=None, database=None)
WORDS = st.from_regex(r"[A-Z][A-Za-z]{0,20}", fullmatch=True)


def test_each_code_is_in_one_row_of_the_table():
    rows = [code for row in codes._BY_KIND.values() for code in row.split()]
    assert len(rows) == len(set(rows)) == len(codes.KINDS)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("RequestLimitExceeded", codes.THROTTLED),
        ("Client.SomethingThrottled", codes.THROTTLED),
        ("Timeout", codes.UNCERTAIN),
        ("InsufficientInstanceCapacity", codes.PASSING),
        ("InsufficientSomethingCapacity", codes.PASSING),
        ("IncorrectInstanceState", codes.PASSING),
        ("ExpiredToken", codes.CREDENTIALS),
        ("UnauthorizedOperation", codes.DENIED),
        ("AccessDeniedByPolicy", codes.DENIED),
        ("TagLimitExceeded", codes.NO_ROOM),
        ("TagPolicyViolation", codes.NO_ROOM),
        ("SomeLimitExceeded", codes.NO_ROOM),
        ("UnsupportedOperation", codes.IMPOSSIBLE),
        ("OperationNotPermitted", codes.IMPOSSIBLE),
        ("UnsupportedHibernationConfiguration", codes.IMPOSSIBLE),
        ("UnsupportedAnything", codes.IMPOSSIBLE),
        ("InvalidInstanceID.NotFound", codes.WRONG),
        ("InvalidWhatever.Malformed", codes.WRONG),
        ("NoSuchCodeYet", codes.UNKNOWN),
        ("", codes.UNKNOWN),
    ],
)
def test_the_kind_of_a_code(code, kind):
    assert codes.kind(code) == kind


@BOUNDED
@given(WORDS)
def test_no_code_is_both_retried_and_lasting(code):
    for each in (code, *codes.KINDS):
        assert not (codes.retryable(each) and codes.lasting(each))


def test_what_is_not_known_neither_lasts_nor_passes():
    assert not codes.lasting("NoSuchCodeYet") and not codes.retryable("NoSuchCodeYet")


def test_the_sets_of_the_adapters_are_rows_of_the_table():
    assert codes.of(codes.DENIED) == client.DENIED and "UnauthorizedOperation" in client.DENIED
    assert {"RequestLimitExceeded", "Throttling"} <= ec2.THROTTLED
    assert {"Timeout", "EndpointUnreachable", "BadAnswer"} == ec2.UNCERTAIN
    assert {"NoCredentials", "AuthFailure"} <= client.WITHOUT_CREDENTIALS


@pytest.mark.parametrize(
    ("code", "message", "part"),
    [
        ("UnsupportedOperation", "You can't stop the Spot Instance because it is of a one-time request", "persistent"),
        ("OperationNotPermitted", "Modify its 'disableApiStop' instance attribute and try again.", "disableApiStop"),
        ("UnsupportedOperation", "The instance does not have an 'ebs' root device type", "EBS"),
        ("UnsupportedOperation", "not possible for an instance store-backed instance", "EBS"),
        ("UnsupportedHibernationConfiguration", "no", "hibernation"),
        ("UnsupportedTenancy", "no", "nat_instance_fence"),
        ("TagLimitExceeded", "no", "50"),
        ("TagPolicyViolation", "no", "tag policy"),
    ],
)
def test_a_refusal_that_lasts_has_a_remedy(code, message, part):
    assert codes.lasting(code) and part in codes.remedy(code, message)


@BOUNDED
@given(st.sampled_from(sorted(codes.of(codes.IMPOSSIBLE))), st.text())
def test_every_impossible_step_has_a_remedy(code, message):
    assert "nat_instance_fence" in codes.remedy(code, message)
