# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call to EC2: its pages, and its failures as ``Ec2Error`` with a remedy."""

from __future__ import annotations

import typing as t

from ..errors import Ec2Error
from . import calls, client, codes

CONNECTIONS = 232  # At least the number of threads that call: 200 writers, and 24 readers
# A route is missing, and the configuration forbids this node to create it
NOT_MADE = "InvalidRoute.NotFound"
T = t.TypeVar("T")


class Ec2Client:
    """Makes calls to EC2. Blocking, and safe to call from several threads. Timeouts in seconds."""

    def __init__(self, connection: client.Caller) -> None:
        self._aws = connection

    def dry_run(self, call: calls.Call, resource: str, parameters: t.Mapping[str, t.Any]) -> None:
        """Make a call that changes nothing.

        Raises ``Ec2Error``, also if the call would be allowed (``Call.proof``).
        """
        self._call(call, resource, DryRun=True, **parameters)

    def _read(self, call: calls.Call, resource: str, key: str, **parameters: t.Any) -> t.Any:
        """A call whose answer must hold ``key``. botocore takes any XML, such as a proxy's page,
        for an empty answer.
        """
        answer = self._call(call, resource, **parameters)
        if not isinstance(answer.get(key), list):
            raise self._error(call, resource, "BadAnswer", f"the answer is no answer of EC2: it holds no {key}")
        return answer

    def _pages(self, call: calls.Call, resource: str, key: str, **parameters: t.Any) -> list[t.Any]:
        """All items of a reading, page by page."""
        answer = self._read(call, resource, key, **parameters)
        found = list(answer[key])
        while answer.get("NextToken"):
            answer = self._read(call, resource, key, NextToken=answer["NextToken"], **parameters)
            found += answer[key]
        return found

    def _understood(self, call: calls.Call, resource: str, understand: t.Callable[[], T]) -> T:
        """The meaning of an answer.

        Raises ``Ec2Error`` (``BadAnswer``) if a part of it is missing or of another type.
        """
        try:
            return understand()
        except client.GARBAGE as error:
            problem = f"the answer is no answer of EC2: {type(error).__name__}: {error}"
            raise self._error(call, resource, "BadAnswer", problem) from None

    def _call(self, call: calls.Call, resource: str, **parameters: t.Any) -> t.Any:
        """The answer of one call. Raises ``Ec2Error`` whatever fails."""
        return self._aws.call(call, lambda code, message: self._error(call, resource, code, message), **parameters)

    def _error(self, call: calls.Call, resource: str, code: str, message: str) -> Ec2Error:
        remedy = {
            "InvalidRouteTableID.NotFound": "correct the route table id or the region",
            "InvalidInstanceID.NotFound": "correct the instance id or the region",
            "InvalidPrefixListID.NotFound": "correct the prefix list id or the region",
            NOT_MADE: "create the route, or let the node do it: ec2.create_routes, and the permission ec2:CreateRoute",
        }.get(code, codes.remedy(code, message) or client.remedy(code, self._aws.url, "ec2.endpoint_url"))
        if code in client.DENIED:
            scope = "*" if call.reads else resource
            remedy = f"allow {call.permission} on {scope} in the IAM policy of this instance's role"
        return Ec2Error(
            call.permission, resource, code, client.line(message), retryable=codes.retryable(code), remedy=remedy
        )
