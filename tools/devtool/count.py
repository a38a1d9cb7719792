# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts of passed and failed tests, read from JUnit files rather than from what a tool prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree


@dataclass(frozen=True)
class Count:
    """How many tests ended how, and the names of those that failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    names: tuple[str, ...] = ()

    def __add__(self, other: Count) -> Count:
        return Count(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.names + other.names,
        )


def of_junit(files: Iterable[Path]) -> Count:
    """The sum over all test cases of some JUnit files."""
    total = Count()
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            if case.find("failure") is not None or case.find("error") is not None:
                total += Count(failed=1, names=(name,))
            elif case.find("skipped") is not None:
                total += Count(skipped=1)
            else:
                total += Count(passed=1)
    return total
