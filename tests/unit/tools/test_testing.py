# SPDX-License-Identifier: GPL-3.0-or-later
"""The total of ./dev test names the checks that could not run."""

from __future__ import annotations

import pytest

from devtool import cores, interpreters, testing

ALL = ["build", "unit", "playbooks", "sanity", "lint"]
DEBIAN_12, DEBIAN_13 = "3.11", "3.13"  # their Pythons


def untried(stages, find, here=DEBIAN_12, **more):
    return testing.untried(stages, find, here=here, **more)


def test_each_python_that_is_not_here_is_named_with_the_stages_that_wanted_it():
    lines = untried([*ALL, "cores"], lambda _version: None)
    assert "--- not run: unit and sanity with Python 3.9, which is not here" in lines
    assert len(lines) == len({*interpreters.OTHERS, *(cores.CORES[core] for core in cores.NEWEST)})


def test_cores_is_named_also_where_it_was_left_out_for_want_of_all_its_interpreters():
    lines = untried(ALL, lambda version: "/usr/bin/python3.9" if version == "3.9" else None)
    assert "--- not run: cores with Python 3.13, which is not here" in lines
    lines = untried(ALL, lambda version: "/usr/bin/python3.9" if version == "3.9" else None, nightly=True)
    assert "--- not run: unit and sanity and cores with Python 3.13, which is not here" in lines
    lines = untried(["cores-all"], lambda version: "/usr/bin/python3.13" if version == "3.13" else None)
    assert lines == ["--- not run: cores-all with Python 3.12, which is not here"]


def test_a_nightly_run_wants_each_python_for_the_unit_tests():
    assert untried(["unit"], lambda version: "/usr/bin/python3.9" if version == "3.9" else None) == []
    lines = untried(["unit"], lambda _version: None, nightly=True)
    assert lines == [f"--- not run: unit with Python {each}, which is not here" for each in interpreters.OTHERS]


@pytest.mark.parametrize("here", interpreters.OTHERS)
def test_the_python_of_this_machine_is_not_lacking(here):
    lines = untried(["unit"], lambda _version: None, here=here, nightly=True)
    assert len(lines) == len(interpreters.OTHERS) - 1 and here not in " ".join(lines)


def test_on_debian_13_the_stages_that_have_a_core_for_its_python_still_want_an_interpreter_to_make_its_venv():
    lines = untried(["cores-all"], lambda _version: None, here=DEBIAN_13)
    assert "--- not run: cores-all with Python 3.13, which is not here" in lines


def test_nothing_is_said_of_stages_that_were_not_asked_for_or_found_all():
    assert untried(["build", "lint"], lambda _version: None) == []
    assert untried(ALL, lambda version: f"/usr/bin/python{version}") == []


def test_a_nightly_run_has_the_long_form_of_each_stage_and_no_stage_twice():
    usual = {stage.name for stage in testing.choose("")}
    nightly = {stage.name for stage in testing.choose("", nightly=True)}
    assert "molecule" in usual and "molecule-all" not in usual
    assert "molecule-all" in nightly and "molecule" not in nightly
    assert usual - {"molecule", "cores"} <= nightly
