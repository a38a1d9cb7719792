# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The additions of a new IAM policy to the old one. Pure. Bad input is a ``ValueError``."""

from __future__ import annotations

import json
import typing as t

# Keys that name resources one by one, in place of their ARNs.
BY_ID = {"ec2:RouteTableID": "route-table"}


class Grant(t.NamedTuple):
    """One action on one resource; ``condition`` as canonical JSON."""

    effect: str
    action: str
    resource: str
    condition: str


def growth(old: t.Any, new: t.Any) -> list[str]:
    """A line for each resource that the new policy opens further than the old one; none if it only
    takes away.

    An action under another condition counts as opened, since nothing here can tell whether it is a
    narrower one.
    """
    before, after = set(_grants("the old policy", old)), set(_grants("the new policy", new))
    opened = [grant for grant in after - before if grant.effect == "Allow"]
    known = {(grant.action, grant.resource) for grant in before}
    actions: dict[tuple[str, str], list[str]] = {}
    for grant in sorted(opened):
        how = " under another condition" if (grant.action, grant.resource) in known else ""
        actions.setdefault((grant.resource, how), []).append(grant.action)
    lines = ["{} on {}{}".format(", ".join(sorted(set(names))), where, how) for (where, how), names in actions.items()]
    lines += [
        f"{grant.action} on {grant.resource} is no longer denied"
        for grant in sorted(before - after)
        if grant.effect == "Deny"
    ]
    return sorted(lines)


def _grants(what: str, policy: t.Any) -> t.Iterator[Grant]:
    document = policy
    if isinstance(policy, str):
        try:
            document = json.loads(policy)
        except ValueError as error:
            raise ValueError(f"{what} is no JSON: {error}") from error
    if not isinstance(document, t.Mapping) or "Statement" not in document:
        raise ValueError(f"{what} is no IAM policy: it has no Statement")
    for statement in _list(document["Statement"]):
        for resource, condition in _resources(statement):
            for action in _list(statement.get("Action", "not " + str(statement.get("NotAction")))):
                yield Grant(str(statement.get("Effect")), str(action), resource, json.dumps(condition, sort_keys=True))


def _resources(statement: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, t.Any]]:
    """Each resource with the rest of the condition, whether it is named by its ARN or by the key of
    its id.
    """
    condition = {key: dict(block) for key, block in statement.get("Condition", {}).items()}
    arns = _list(statement.get("Resource", "not " + str(statement.get("NotResource"))))
    equals = condition.get("StringEquals", {})
    for key, kind in BY_ID.items():
        if key in equals and all(str(arn).endswith(kind + "/*") for arn in arns):
            ids = _list(equals.pop(key))
            arns = [str(arn)[:-1] + each for arn in arns for each in ids]
    rest = {key: _sorted(block) for key, block in condition.items() if block}
    for arn in arns:
        yield str(arn), rest


def _sorted(block: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: sorted(str(each) for each in _list(values)) for key, values in block.items()}


def _list(value: t.Any) -> list[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
