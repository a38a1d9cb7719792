# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests that a run of ./dev test takes out of its stages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """``expression``: the tests of pytest's -k, also nightly ones. ``nightly``: every test, also those that take long for what they add."""

    expression: str = ""
    nightly: bool = False

    @property
    def leaves_nightly(self) -> bool:
        """Whether tests with the mark nightly are left to another run."""
        return not (self.nightly or self.expression)

    def flags(self) -> list[str]:
        """The words for pytest."""
        named = ["-k", self.expression] if self.expression else []
        return [*named, *(["-m", "not nightly"] if self.leaves_nightly else [])]


USUAL = Choice()
