# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The witness table in DynamoDB, and nothing else knows DynamoDB. Blocking and safe to call from several threads.

Partition key ``cluster``, sort key ``item``, both strings: several clusters may share a table. Items: ``node/INSTANCE``, which a node rewrites to show that
it lives, and ``fence``, the lock. All reads are strongly consistent, all writes of the lock are conditional.
"""

from __future__ import annotations

import typing as t

from ..errors import NatFailoverError, WitnessError
from ..model.settings import Config
from . import client as aws

PARTITION, SORT = "cluster", "item"
NODE, LOCK = "node/", "fence"
RETRYABLE = aws.RETRYABLE | {"ProvisionedThroughputExceededException", "InternalServerError"}
NOT_SO = "ConditionalCheckFailedException"
NO_TABLE = "ResourceNotFoundException"
BAD_KEYS = "ValidationException"
NAMES = {"#v": "value"}
NOBODY = "nobody writes this"  # a value that no item has: a conditional write on it asks for the permission and changes nothing


class Contents(t.NamedTuple):
    """One reading. ``lock``: (holder, peer, value); None: free."""

    items: t.Mapping[str, str]
    lock: t.Optional[t.Tuple[str, str, str]]


class Table:
    """One cluster's items. Times in seconds."""

    def __init__(
        self,
        table: str,
        cluster: str,
        region: str,
        endpoint_url: t.Optional[str] = None,
        *,
        connect_timeout: float = 1.0,
        read_timeout: float = 2.0,
    ) -> None:
        self.table = table
        self._cluster = cluster
        self._url = endpoint_url or "https://dynamodb.%s.amazonaws.com" % region
        self._aws = aws.Connection("dynamodb", region, endpoint_url, connect_timeout, read_timeout, pool=4)

    def read(self) -> Contents:
        """Query: all items of the cluster in one answer, as they are now."""
        answer = self._call(
            "Query",
            KeyConditionExpression="#c = :c",
            ExpressionAttributeNames={"#c": PARTITION},
            ExpressionAttributeValues={":c": {"S": self._cluster}},
            ConsistentRead=True,
        )
        if "Items" not in answer:
            raise self._error("Query", "BadAnswer", "the answer is not one of DynamoDB, it holds no Items")
        rows = {_text(row, SORT): row for row in answer["Items"]}
        lock = rows.get(LOCK)
        return Contents(
            {name[len(NODE) :]: _text(row, "value") for name, row in rows.items() if name.startswith(NODE)},
            None if lock is None else (_text(lock, "holder"), _text(lock, "peer"), _text(lock, "value")),
        )

    def show(self, instance_id: str, value: str) -> None:
        """PutItem: this machine lives."""
        self._call("PutItem", Item=self._item(NODE + instance_id, value=value))

    def lock(self, holder: str, peer: str, value: str, expects: str) -> bool:
        """PutItem, if the lock is free, the holder's own, or still has the value ``expects``. Returns whether that was so."""
        return self._conditionally(
            "PutItem",
            "attribute_not_exists(#c) OR #h = :h OR #v = :v",
            {"#c": PARTITION, "#h": "holder", **NAMES},
            {":h": holder, ":v": expects or NOBODY},
            Item=self._item(LOCK, holder=holder, peer=peer, value=value),
        )

    def unlock(self, value: str) -> bool:
        """DeleteItem, if the lock still has this value: a call that comes late frees no newer one."""
        return self._conditionally("DeleteItem", "#v = :v", NAMES, {":v": value}, Key=self._item(LOCK))

    def check(self, fences: bool) -> t.List[str]:
        """What is wrong with the table or with this node's permissions, a sentence each. Changes nothing.

        What could not be asked is raised: it is not proven.
        """
        # DynamoDB has no dry runs, but a condition that cannot hold is looked at only after the permission.
        condition: t.Tuple[t.Any, ...] = ("#v = :v", NAMES, {":v": NOBODY})
        asks: t.List[t.Callable[[], t.Any]] = [
            self.read,
            lambda: self._conditionally("PutItem", *condition, Item=self._item(LOCK, value=NOBODY)),
        ]
        if fences:
            asks.append(lambda: self._conditionally("DeleteItem", *condition, Key=self._item(LOCK)))
        wrong = []
        for ask in asks:
            try:
                ask()
            except WitnessError as error:
                if error.code not in (NO_TABLE, BAD_KEYS, *aws.DENIED):
                    raise
                wrong.append(str(error))
                if error.code not in aws.DENIED:
                    break
        return wrong

    def _item(self, name: str, **attributes: str) -> t.Dict[str, t.Dict[str, str]]:
        return {key: {"S": value} for key, value in {PARTITION: self._cluster, SORT: name, **attributes}.items()}

    def _conditionally(
        self,
        action: str,
        condition: str,
        names: t.Mapping[str, str],
        values: t.Mapping[str, str],
        **parameters: t.Any,
    ) -> bool:
        try:
            self._call(
                action,
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

    def _call(self, action: str, **parameters: t.Any) -> t.Mapping[str, t.Any]:
        return self._aws.call(
            action,
            lambda code, message: self._error(action, code, message),
            TableName=self.table,
            **parameters,
        )

    def _error(self, action: str, code: str, message: str) -> WitnessError:
        resource = "table %s" % self.table
        remedy = {
            NO_TABLE: "create it (docs/iam.md has the line), or correct witness.dynamodb_table or the region",
            BAD_KEYS: "its partition key must be `%s` and its sort key `%s`, both strings: create it anew"
            % (PARTITION, SORT),
        }.get(code, aws.remedy(code, self._url, "witness.endpoint_url"))
        if code in aws.DENIED:
            remedy = "allow dynamodb:%s on %s in the IAM policy of this instance's role" % (action, resource)
        return WitnessError(
            "dynamodb:%s" % action, resource, code, aws.line(message), retryable=code in RETRYABLE, remedy=remedy
        )


def connect(config: Config) -> t.Optional[Table]:
    """The table that a configuration asks for, if any."""
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


def require(table: t.Optional[Table]) -> Table:
    """The table, where the plan rests on there being one."""
    if table is None:
        raise NatFailoverError("witness.dynamodb_table: there is no witness table to hold the fence lock")
    return table


def _text(row: t.Mapping[str, t.Mapping[str, str]], name: str) -> str:
    """A string attribute; empty if it is not there or of another type."""
    return str(row.get(name, {}).get("S", ""))
