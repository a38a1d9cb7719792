# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that a pool of threads makes for a reader, one or several in turn."""

from __future__ import annotations

import typing as t

Call = tuple[t.Any, ...]  # a function and its arguments


def result_of(call: Call) -> t.Any:
    """The result of a call, or the exception that it raised."""
    function, *arguments = call
    try:
        return function(*arguments)
    except Exception as error:  # pylint: disable=broad-except  # the reader of the result decides
        return error


def in_turn(calls: t.Sequence[Call]) -> list[t.Any]:
    """The result of each call, or the exception that it raised. One call after the other."""
    return [result_of(call) for call in calls]
