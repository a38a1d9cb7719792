# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tables and partition keys a DynamoDB call is about (AWS: Developer Guide, "Using IAM policy conditions for fine-grained access control")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from . import backend
from .request import ApiRequest


def tables(request: ApiRequest) -> list[str]:
    """The tables that a call names."""
    named = request.params.get("TableName")
    batch = request.params.get("RequestItems")
    return [str(named)] if named else sorted(batch) if isinstance(batch, dict) else []


def leading_keys(account: str, request: ApiRequest, table: str) -> list[str]:
    """The partition key values that a call reads or writes in one table; none for calls that have none."""
    found = backend.dynamodb(account, request.region).tables.get(table)
    if found is None:
        return []
    return sorted({value for each in _keys(request, table, found.hash_key_attr) for value in each.values()})


def _keys(request: ApiRequest, table: str, attribute: str) -> Iterator[dict[str, str]]:
    params = request.params
    for name in ("Key", "Item"):
        yield from _value(params.get(name), attribute)
    batch = params.get("RequestItems")
    wanted = batch.get(table, {}) if isinstance(batch, dict) else {}
    for key in wanted.get("Keys", []) if isinstance(wanted, dict) else []:
        yield from _value(key, attribute)
    for write in wanted if isinstance(wanted, list) else []:
        yield from _value(
            write.get("PutRequest", {}).get("Item") or write.get("DeleteRequest", {}).get("Key"), attribute
        )
    names, values = params.get("ExpressionAttributeNames", {}), params.get("ExpressionAttributeValues", {})
    for name, value in re.findall(r"([#\w.]+)\s*=\s*(:\w+)", str(params.get("KeyConditionExpression", ""))):
        if names.get(name, name) == attribute and isinstance(values.get(value), dict):
            yield values[value]


def _value(attributes: Any, attribute: str) -> Iterator[dict[str, str]]:
    if isinstance(attributes, dict) and isinstance(attributes.get(attribute), dict):
        yield attributes[attribute]
