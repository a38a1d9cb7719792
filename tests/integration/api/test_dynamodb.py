# SPDX-License-Identifier: GPL-3.0-or-later
"""DynamoDB as a lock needs it.

Sources: DynamoDB Developer Guide ("Condition expressions", "Read consistency", "Error handling", "Using IAM policy conditions for fine-grained access
control"). Plain moto has no lock between the check of a condition and the write, and denies every resource that is not ``*``.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from moto.dynamodb.models.table import Table

from lab.api import backend

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/"


def make_table(client, name="witness"):
    keys = {"cluster": "HASH", "item": "RANGE"}
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.fixture
def table(api, dynamodb):
    make_table(dynamodb)
    return dynamodb


def put(client, item, cluster="lab", **more):
    keys = {"cluster": {"S": cluster}, "item": {"S": item}}
    return client.put_item(TableName="witness", Item={**keys, "value": {"S": "x"}}, **more)


def query(client, cluster="lab"):
    answer = client.query(
        TableName="witness",
        KeyConditionExpression="#c = :c",
        ExpressionAttributeNames={"#c": "cluster"},
        ExpressionAttributeValues={":c": {"S": cluster}},
        ConsistentRead=True,
    )
    return [item["item"]["S"] for item in answer["Items"]]


def code(call, *arguments, **options):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **options)
    return caught.value.response["Error"]["Code"]


def test_conditional_puts_have_one_winner(table, monkeypatch):
    # Plain moto had two winners in 5 of 1500 races. With a pause between its check and its write it would have them in nearly all.
    real = Table.get_item

    def dawdling(self, *arguments, **options):
        found = real(self, *arguments, **options)
        time.sleep(0.002)
        return found

    monkeypatch.setattr(Table, "get_item", dawdling)
    winners, barrier = Counter(), threading.Barrier(6)

    def race():
        for turn in range(10):
            barrier.wait(20)
            try:
                free = {
                    "ConditionExpression": "attribute_not_exists(#c)",
                    "ExpressionAttributeNames": {"#c": "cluster"},
                }
                put(table, str(turn), **free)
                winners[turn] += 1
            except ClientError as error:
                assert error.response["Error"]["Code"] == "ConditionalCheckFailedException"

    threads = [threading.Thread(target=race) for _number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert winners == dict.fromkeys(range(10), 1)


def test_faults_hit_it_by_action_like_any_other_call(api, table):
    api.fault("PutItem", error="ProvisionedThroughputExceededException", count=1)
    assert code(put, table, "a") == "ProvisionedThroughputExceededException"
    assert query(table) == []
    put(table, "a")
    api.fault("Query", error="InternalServerError", status=500, count=1)
    assert code(query, table) == "InternalServerError"
    assert query(table) == ["a"]
    api.fault("PutItem", drop="after", count=1)
    with pytest.raises(ConnectionClosedError):
        put(table, "b")
    assert query(table) == ["a", "b"], "applied all the same"
    calls = [(call.service, call.action, call.error) for call in api.calls(action="PutItem")]
    assert calls[0] == ("dynamodb", "PutItem", "ProvisionedThroughputExceededException") and len(calls) == 3


# --- permissions -----------------------------------------------------------------------------------------------------------------


def allow(iam, resource, condition=None, actions=("dynamodb:PutItem", "dynamodb:Query", "dynamodb:BatchGetItem")):
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    if condition:
        statement["Condition"] = condition
    document = {"Version": "2012-10-17", "Statement": [statement]}
    with iam.api.lock:
        backend.iam().put_role_policy("lab-nat-a", "dynamodb", json.dumps(document))


@pytest.fixture
def node(iam):
    make_table(iam.client("dynamodb"))
    return iam.client("dynamodb", node="nat-a")


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [(ARN + "witness", True), ("arn:aws:dynamodb:*:*:table/*", True), ("*", True), (ARN + "other", False)],
)
def test_a_table_is_a_resource(iam, node, resource, allowed):
    allow(iam, resource)
    if allowed:
        put(node, "a")
        assert query(node) == ["a"]
        batch = {"witness": {"Keys": [{"cluster": {"S": "lab"}, "item": {"S": "a"}}]}}
        assert len(node.batch_get_item(RequestItems=batch)["Responses"]["witness"]) == 1
    else:
        assert code(put, node, "a") == code(query, node) == "AccessDeniedException"
    assert code(node.delete_item, TableName="witness", Key={"cluster": {"S": "lab"}, "item": {"S": "a"}}) == (
        "AccessDeniedException"
    )


def test_a_condition_on_the_partition_key(iam, node):
    allow(iam, ARN + "witness", {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["lab"]}})
    put(node, "a")
    assert query(node) == ["a"]
    assert code(put, node, "a", cluster="other") == "AccessDeniedException"
    assert code(query, node, cluster="other") == "AccessDeniedException"
    batch = {"witness": {"Keys": [{"cluster": {"S": name}, "item": {"S": "a"}} for name in ("lab", "other")]}}
    assert code(node.batch_get_item, RequestItems=batch) == "AccessDeniedException"
