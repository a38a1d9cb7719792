# SPDX-License-Identifier: GPL-3.0-or-later
"""The total of ./dev test names the checks that could not run."""

from __future__ import annotations

from devtool import cores, interpreters, testing

ALL = ["build", "unit", "playbooks", "sanity", "lint"]


def test_each_python_that_is_not_here_is_named_with_the_stages_that_wanted_it():
    lines = testing.untried([*ALL, "cores"], lambda _version: None)
    assert "--- not run: unit and sanity with Python 3.9, which is not here" in lines
    assert len(lines) == len({*interpreters.OTHERS, *(cores.CORES[core] for core in cores.NEWEST)})


def test_cores_is_named_also_where_it_was_left_out_for_want_of_all_its_interpreters():
    lines = testing.untried(ALL, lambda version: "/usr/bin/python3.9" if version == "3.9" else None)
    assert "--- not run: unit and sanity and cores with Python 3.13, which is not here" in lines
    lines = testing.untried(["cores-all"], lambda version: "/usr/bin/python3.13" if version == "3.13" else None)
    assert lines == ["--- not run: cores-all with Python 3.12, which is not here"]


def test_nothing_is_said_of_stages_that_were_not_asked_for_or_found_all():
    assert testing.untried(["build", "lint"], lambda _version: None) == []
    assert testing.untried(ALL, lambda version: f"/usr/bin/python{version}") == []
