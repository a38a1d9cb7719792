# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that reach an operator. Each message is one line: what is wrong, with which value, and the remedy."""

from __future__ import annotations

import typing as t


class NatFailoverError(Exception):
    """Base of all errors of this package; ``str()`` of it is fit to be shown to an operator."""


class ConfigError(NatFailoverError):
    """A configuration that is refused before anything is changed."""

    def __init__(self, key: str, value: t.Any, problem: str, remedy: str) -> None:
        self.key = key
        self.value = value
        self.remedy = remedy
        super().__init__("%s: %s (got %r); %s" % (key, problem, value, remedy))


class AwsError(NatFailoverError):
    """An AWS call that failed.

    ``code`` is AWS's error code, or one of ours for what has none: ``NoCredentials``, ``EndpointUnreachable``, ``Timeout``, ``BadAnswer``.
    ``retryable`` says whether the same call may succeed later. A timeout is never a "no": the write may still be applied.
    """

    def __init__(
        self, action: str, resource: str, code: str, message: str, *, retryable: bool, remedy: str = ""
    ) -> None:
        self.action = action
        self.resource = resource
        self.code = code
        self.retryable = retryable
        self.remedy = remedy
        text = "%s on %s: %s (%s)" % (action, resource, message.rstrip("."), code)
        super().__init__("%s; %s" % (text, remedy) if remedy else text)


class Ec2Error(AwsError):
    """An EC2 call that failed."""


class WitnessError(AwsError):
    """A DynamoDB call that failed. It takes a witness away, and with it the fence lock; nothing else."""
