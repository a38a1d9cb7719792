# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tests of a stage run, and how many are left to a nightly run."""

from __future__ import annotations

import pytest

from devtool.choice import Choice
from devtool.count import deselected


def test_a_usual_run_leaves_the_nightly_tests_and_a_test_that_is_named_runs():
    assert Choice().flags() == ["-m", "not nightly"]
    assert Choice(nightly=True).flags() == []
    assert Choice("drain").flags() == ["-k", "drain"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("=== 3 passed, 2 deselected in 1.20s ===\n", 2),
        ("== 1 failed, 30 passed, 11 deselected, 1 warning in 90.11s (0:01:30) ==\n", 11),
        ("5 deselected in 0.01s\n", 5),
        ("collected 12 items / 2 deselected / 10 selected\n", 0),
        ("3 passed in 1.20s\n", 0),
    ],
)
def test_the_last_line_of_pytest_says_how_many_were_left_out(text, count):
    assert deselected(text) == count
