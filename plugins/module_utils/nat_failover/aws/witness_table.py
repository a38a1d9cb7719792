# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter of the witness table in DynamoDB. Blocking, and safe to call from several threads.

Partition key ``cluster`` and sort key ``item``, both strings, so several clusters may share a
table. Items: ``node/INSTANCE``, which a node rewrites as a sign of life, and ``fence``, the lock.
All reads are strongly consistent, and all writes of the lock are conditional. Every failure is a
``WitnessError``. Source: the DynamoDB API Reference.
"""

from __future__ import annotations

import typing as t

from ..errors import NatFailoverError, WitnessError
from ..model.settings import Config
from ..model.text import plain
from . import calls, client, codes

PARTITION, SORT = "cluster", "item"
NODE, LOCK = "node/", "fence"
NOT_SO = "ConditionalCheckFailedException"
NO_TABLE = "ResourceNotFoundException"
BAD_KEYS = "ValidationException"
NAMES = {"#v": "value"}
# A value that no item has: a write on that condition checks the permission and changes nothing
NOBODY = "nobody writes this"


class Contents(t.NamedTuple):
    """One reading.

    ``items``: instance id -> value. ``lock``: (holder, peer, value), or None if it is free.
    """

    items: t.Mapping[str, str]
    lock: tuple[str, str, str] | None


class Table:
    """The items of one cluster. Timeouts in seconds."""

    def __init__(
        self,
        table: str,
        cluster: str,
        region: str,
        endpoint_url: str | None = None,
        *,
        connect_timeout: float = 1.0,
        read_timeout: float = 2.0,
        connection: client.Caller | None = None,
    ) -> None:
        """``connection`` takes the place of boto3's client."""
        self.table = table
        self._cluster = cluster
        self._aws = connection or client.Connection(
            "dynamodb", region, endpoint_url, connect_timeout, read_timeout, pool=4
        )

    def read(self) -> Contents:
        """Query: all items of the cluster, strongly consistent. Raises ``WitnessError``."""
        answer = self._call(
            calls.QUERY,
            KeyConditionExpression="#c = :c",
            ExpressionAttributeNames={"#c": PARTITION},
            ExpressionAttributeValues={":c": {"S": self._cluster}},
            ConsistentRead=True,
        )
        if not isinstance(answer.get("Items"), list):
            raise self._error(calls.QUERY, "BadAnswer", "the answer is no answer of DynamoDB: it holds no Items")
        try:
            return _contents(answer["Items"])
        except client.GARBAGE as error:
            problem = f"the answer is no answer of DynamoDB: {type(error).__name__}: {error}"
            raise self._error(calls.QUERY, "BadAnswer", problem) from None

    def show(self, instance_id: str, value: str) -> None:
        """PutItem: the sign of life of an instance."""
        self._call(calls.PUT_ITEM, Item=self._item(NODE + instance_id, value=value))

    def lock(self, holder: str, peer: str, value: str, expects: str) -> bool:
        """PutItem, if the lock is free, the holder's own, or still has the value ``expects``.

        Returns whether that was so.
        """
        return self._conditionally(
            calls.PUT_ITEM,
            "attribute_not_exists(#c) OR #h = :h OR #v = :v",
            {"#c": PARTITION, "#h": "holder", **NAMES},
            {":h": holder, ":v": expects or NOBODY},
            Item=self._item(LOCK, holder=holder, peer=peer, value=value),
        )

    def unlock(self, value: str) -> bool:
        """DeleteItem, if the lock still has this value.

        A late call frees no newer lock. Returns whether that was so.
        """
        return self._conditionally(calls.DELETE_ITEM, "#v = :v", NAMES, {":v": value}, Key=self._item(LOCK))

    def check(self, fences: bool) -> list[str]:
        """The problems of the table and of this node's permissions, a sentence each.

        Changes nothing.

        Raises ``WitnessError`` for any other failure: a permission that could not be checked is not
        proven.
        """
        # DynamoDB has no dry runs. It checks a condition, which cannot hold here, only after the
        # permission.
        condition: tuple[t.Any, ...] = ("#v = :v", NAMES, {":v": NOBODY})
        checks: list[t.Callable[[], t.Any]] = [
            self.read,
            lambda: self._conditionally(calls.PUT_ITEM, *condition, Item=self._item(LOCK, value=NOBODY)),
        ]
        if fences:
            checks.append(lambda: self._conditionally(calls.DELETE_ITEM, *condition, Key=self._item(LOCK)))
        wrong = []
        for check in checks:
            try:
                check()
            except WitnessError as error:
                if error.code not in (NO_TABLE, BAD_KEYS, *client.DENIED):
                    raise
                wrong.append(str(error))
                if error.code not in client.DENIED:
                    break
        return wrong

    def _item(self, name: str, **attributes: str) -> dict[str, dict[str, str]]:
        return {key: {"S": value} for key, value in {PARTITION: self._cluster, SORT: name, **attributes}.items()}

    def _conditionally(
        self,
        call: calls.Call,
        condition: str,
        names: t.Mapping[str, str],
        values: t.Mapping[str, str],
        **parameters: t.Any,
    ) -> bool:
        try:
            self._call(
                call,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={key: {"S": value} for key, value in values.items()},
                **parameters,
            )
        except WitnessError as error:
            if error.code != NOT_SO:
                raise
            return False
        return True

    def _call(self, call: calls.Call, **parameters: t.Any) -> t.Mapping[str, t.Any]:
        return self._aws.call(
            call,
            lambda code, message: self._error(call, code, message),
            TableName=self.table,
            **parameters,
        )

    def _error(self, call: calls.Call, code: str, message: str) -> WitnessError:
        resource = f"table {self.table}"
        remedy = {
            NO_TABLE: "create it (docs/iam.md has the line), or correct witness.dynamodb_table or the region",
            BAD_KEYS: (
                f"its partition key must be `{PARTITION}` and its sort key `{SORT}`, both strings: create it anew"
            ),
        }.get(code, client.remedy(code, self._aws.url, "witness.endpoint_url"))
        if code in client.DENIED:
            remedy = f"allow {call.permission} on {resource} in the IAM policy of this instance's role"
        return WitnessError(
            call.permission, resource, code, client.line(message), retryable=codes.retryable(code), remedy=remedy
        )


def _contents(items: t.Sequence[t.Mapping[str, t.Any]]) -> Contents:
    rows = {_text(row, SORT): row for row in items}
    lock = rows.get(LOCK)
    return Contents(
        {name[len(NODE) :]: _text(row, "value") for name, row in rows.items() if name.startswith(NODE)},
        # The value is compared and written back as it is, and never shown.
        None if lock is None else (plain(_text(lock, "holder")), plain(_text(lock, "peer")), _text(lock, "value")),
    )


def connect(config: Config) -> Table | None:
    """The table that a configuration names, if any."""
    if config.witness.table is None:
        return None
    return Table(
        config.witness.table,
        config.cluster,
        config.region,
        config.witness.endpoint_url,
        connect_timeout=config.ec2.connect_timeout,
        read_timeout=config.ec2.read_timeout,
    )


def require(table: Table | None) -> Table:
    """The table of a plan that needs one. Raises ``NatFailoverError`` if none is configured."""
    if table is None:
        raise NatFailoverError("witness.dynamodb_table: there is no witness table to hold the fence lock")
    return table


def _text(row: t.Mapping[str, t.Mapping[str, str]], name: str) -> str:
    """A string attribute. Empty if it is missing or of another type."""
    return str(row.get(name, {}).get("S", ""))
