# SPDX-License-Identifier: GPL-3.0-or-later
"""check-config --online of a witness table: its keys, its permissions, and its absence."""

from __future__ import annotations

import json

import pytest

from lab.api import backend
from nat_failover.errors import NatFailoverError
from nat_failover.service.preflight import check_online
from tests.integration.adapter.witnessed import NAME, config_of, connect_to, make


def test_a_good_table_is_found_good_and_nothing_is_changed(world, table):
    assert table.lock("nat-a", "nat-b", "a:1", "")
    assert table.check(fences=True) == []
    assert table.read() == ({}, ("nat-a", "nat-b", "a:1"))


def test_a_table_that_is_not_there(world):
    (text,) = connect_to(world.api).check(fences=True)
    assert "ResourceNotFoundException" in text and "create it" in text and NAME in text


@pytest.mark.parametrize("keys, kind", [(("id",), "S"), (("cluster",), "S"), (("item", "cluster"), "S")])
def test_a_table_with_other_keys(world, keys, kind):
    make(world.api, keys, kind)
    (text,) = connect_to(world.api).check(fences=True)
    assert "its partition key must be `cluster` and its sort key `item`, both strings" in text


@pytest.fixture
def guarded(iam, connect):
    make(iam)
    return connect(iam)


def allow(world, *actions):
    statement = {"Effect": "Allow", "Action": ["dynamodb:" + each for each in actions], "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    with world.api.api.lock:
        backend.iam().put_role_policy("lab-nat-a", "dynamodb", json.dumps(document))


@pytest.mark.parametrize("missing", ["Query", "PutItem", "DeleteItem"])
def test_each_missing_permission_is_named(guarded, missing):
    allow(guarded, *{"Query", "PutItem", "DeleteItem"} - {missing})
    table = connect_to(guarded.api)
    (text,) = table.check(fences=True)
    assert f"allow dynamodb:{missing} on table {NAME} in the IAM policy" in text
    assert len(table.check(fences=False)) == (missing != "DeleteItem"), "who never fences frees no lock"


def test_check_online_tells_it_all_at_once(guarded):
    allow(guarded, "Query")
    config = config_of(guarded)
    with pytest.raises(NatFailoverError) as caught:
        check_online(config, guarded.ec2, connect_to(guarded.api))
    assert "dynamodb:PutItem" in str(caught.value) and "dynamodb:DeleteItem" in str(caught.value)
    allow(guarded, "Query", "PutItem", "DeleteItem")
    assert "the witness table nat-failover can be used" in check_online(config, guarded.ec2, connect_to(guarded.api))
