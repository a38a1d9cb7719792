# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts of passed and failed tests, read from JUnit files rather than from what a tool prints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree


@dataclass(frozen=True)
class Count:
    """How many tests ended how, and the names of those that failed. ``unsteady`` failed once, and passed when played once more."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    names: tuple[str, ...] = ()
    unsteady: tuple[str, ...] = ()
    tales: tuple[str, ...] = ()  # the ends of what pytest says of failed tests
    nightly: int = 0  # tests that were left to a run with --nightly

    def __add__(self, other: Count) -> Count:
        return Count(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.names + other.names,
            self.unsteady + other.unsteady,
            self.tales + other.tales,
            self.nightly + other.nightly,
        )


TALE_LINES = 40


def of_junit(files: Iterable[Path]) -> Count:
    """The sum over all test cases of some JUnit files."""
    total = Count()
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            wrong = [found for found in (case.find("failure"), case.find("error")) if found is not None]
            if wrong:
                lines = "\n".join(each.text or "" for each in wrong).splitlines()[-TALE_LINES:]
                total += Count(failed=1, names=(name,), tales=("\n".join([f"{name}:", *lines]),))
            elif case.find("skipped") is not None:
                total += Count(skipped=1)
            else:
                total += Count(passed=1)
    return total


def deselected(text: str) -> int:
    """The tests that pytest's last line says it has left out, such as "3 passed, 2 deselected in 1.20s"."""
    found = re.findall(r"^.*?\b(\d+) deselected.* in [0-9.]+s", text, flags=re.MULTILINE)
    return int(found[-1]) if found else 0
