# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors in the wire format of each AWS protocol, and the answer type that everything in this package returns."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

STATUS = {
    "UnauthorizedOperation": 403,
    "AccessDenied": 403,
    "AccessDeniedException": 403,
    "AuthFailure": 401,
    "DryRunOperation": 412,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
    "ServiceUnavailable": 503,
    "InternalError": 500,
    "InternalFailure": 500,
}
JSON_SERVICES = ("dynamodb", "ssm", "logs", "events")


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    error: str | None = None


class ApiError(Exception):
    """A refusal with an AWS error code."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message
        self.status = status or STATUS.get(code, 400)

    def answer(self, service: str) -> Answer:
        """This error as the given service would say it."""
        if service in JSON_SERVICES:
            body = json.dumps({"__type": f"com.amazon.coral.service#{self.code}", "message": self.message})
            return Answer(
                self.status,
                body.encode(),
                [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-errortype", self.code)],
                self.code,
            )
        code, message, request = escape(self.code), escape(self.message), uuid.uuid4()
        if service == "ec2":
            body = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
                f"<RequestID>{request}</RequestID></Response>"
            )
        else:
            body = (
                f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
                f"<RequestId>{request}</RequestId></ErrorResponse>"
            )
        return Answer(
            self.status,
            ('<?xml version="1.0" encoding="UTF-8"?>\n' + body).encode(),
            [("Content-Type", "text/xml;charset=UTF-8")],
            self.code,
        )
