# SPDX-License-Identifier: GPL-3.0-or-later
"""The two shells around the real policy: the shipping one on virtual time, and a fast model of it."""

from __future__ import annotations

import typing as t

from .service import Service

REAL, FAST = "real", "fast"


def shell_of(name: str) -> t.Callable[..., t.Any]:
    """The service that a host starts. ``real`` needs greenlets: CPython's package, or PyPy, which has them."""
    if name == FAST:
        return Service
    from .shipping.process import Process

    return Process


def prepare(shell: str) -> None:
    """Make this process, which does nothing else, a cheaper player of a shell."""
    if shell != FAST:
        from .shipping.tuning import tune

        tune()
