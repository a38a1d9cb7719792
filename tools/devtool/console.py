# SPDX-License-Identifier: GPL-3.0-or-later
"""Words to the operator. Progress goes to stderr; stdout belongs to results."""

from __future__ import annotations

import sys


class Refusal(Exception):
    """Something the operator must do first. Its text is shown as it is; exit code 2."""


def progress(text: str) -> None:
    """Say what is going on, before it takes long."""
    print(f"dev: {text}", file=sys.stderr, flush=True)


def result(text: str) -> None:
    """One line of the result."""
    print(text, flush=True)


def seconds(value: float) -> str:
    """A duration as a person reads it."""
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value) // 60} min {int(value) % 60:02d} s"
