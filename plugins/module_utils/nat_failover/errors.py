# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that reach an operator.

Each message is one line: what is wrong, the value, and the remedy.
"""

from __future__ import annotations

import typing as t

from .model.text import plain


class NatFailoverError(Exception):
    """Base of all errors of this package.

    ``str()`` of it is one line for an operator, without control characters, whatever AWS or a file
    has put into it.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(plain(text))


class UsageError(NatFailoverError):
    """A command that is refused before anything is done: an unknown word, a value that is none."""


class NotPermitted(NatFailoverError):
    """This user may not do that."""


class NoAnswer(NatFailoverError):
    """The service does not run here, or does not answer, so its state is unknown."""


class PortTaken(NatFailoverError):
    """Another process on this host has the port for heartbeats, most often the service itself."""


class ConfigError(NatFailoverError):
    """A configuration that is refused before anything is changed.

    ``key`` is the setting as the file spells it, such as ``nodes[1].address``. ``value`` is the
    value that the file has, or None if the key is missing. ``remedy`` says how to correct it.
    """

    def __init__(self, key: str, value: t.Any, problem: str, remedy: str, *, shown: bool = False) -> None:
        """``shown``: the problem shows the value already."""
        self.key = key
        self.value = value
        self.remedy = remedy
        got = "" if shown or value is None else f" (got {value!r})"
        super().__init__(f"{key}: {problem}{got}; {remedy}")


class UnreadableFile(ConfigError, NotPermitted):
    """A file of the configuration that this user may not read."""


class AwsError(NatFailoverError):
    """An AWS call that failed.

    ``code`` is AWS's error code. A failure without one has a code of this package:
    ``NoCredentials``, ``EndpointUnreachable``, ``Timeout``, ``BadAnswer``. ``retryable`` says
    whether the same call may succeed later. After a timeout the write may still be applied.
    """

    def __init__(
        self, action: str, resource: str, code: str, message: str, *, retryable: bool, remedy: str = ""
    ) -> None:
        self.action = action
        self.resource = resource
        self.code = code
        self.retryable = retryable
        self.remedy = remedy
        text = f"{action} on {resource}: {message.rstrip('.')} ({code})"
        super().__init__(f"{text}; {remedy}" if remedy else text)


class Ec2Error(AwsError):
    """An EC2 call that failed."""


class WitnessError(AwsError):
    """A DynamoDB call that failed.

    This node loses one witness and the fence lock, and nothing else.
    """
