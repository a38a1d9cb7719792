# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for an incident in which a broken policy breaks a law."""

from __future__ import annotations

import contextlib

from .broken import BROKEN
from .incidents import EARLY, IDENTITIES, SERVED, WITNESSED, play
from .shells import FAST, shell_of
from .violation import Violation

# Those that only incidents with a witness table or a witness show.
OF_WITNESSES = (
    "no lock",
    "breaks the lock",
    "lets the lock lapse",
    "keeps the lock",
    "blind to items",
    "fences a witness",
)


OF_SERVICES = (  # that only incidents with claims that depend on a service show
    "deaf to services",
    "hasty about services",
    "all routes for a service",
    "any heir of a service",
    "trusts a service at once",
)
RARE_OF_SERVICES = ("no last heir of a service",)  # the same, but only one in thousands shows it
OF_IDENTITIES = (  # that only incidents with identities show
    "leads with the address",
    "overtakes the routes",
    "steals addresses",
    "takes management addresses",
    "forgets the address",
    "waits for the address",
)
OF_EARLY = ("trusts old readings",)  # that only incidents with early takeovers show


def _seeds_of(name: str) -> int:
    if name in OF_SERVICES + RARE_OF_SERVICES:
        return SERVED
    if name in OF_IDENTITIES:
        return IDENTITIES
    return WITNESSED if name in OF_WITNESSES else EARLY if name in OF_EARLY else 0


def hunt(name: str, most: int, first: int = 0, shell: str = FAST, known: int | None = None) -> tuple[int | None, str]:
    """Play incidents with a broken policy until one breaks a law: (its number, from 1, or None; the violation's first line).

    ``known``: the number of one that broke a law once. It is played before all others. The shipping shell plays those that the fast one
    does not pass, since it costs five times as much.
    """
    with contextlib.ExitStack() as stack:
        for patch in BROKEN[name][1]():
            stack.enter_context(patch)
        if known is not None:
            violation = _violation(name, first + known - 1, shell)
            if violation:
                return known, violation
        for number in range(most):
            if shell != FAST and not _violation(name, first + number, FAST):
                continue
            violation = _violation(name, first + number, shell)
            if violation:
                return number + 1, violation
    return None, ""


def _violation(name: str, number: int, shell: str) -> str:
    """The first line of the violation in an incident, or ""."""
    try:
        play(number + _seeds_of(name), shell_of(shell))
    except Violation as violation:
        return str(violation).splitlines()[0]
    return ""
