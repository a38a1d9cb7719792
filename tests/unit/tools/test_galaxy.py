# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage build refuses a tarball that is not as Galaxy and users want it."""

from __future__ import annotations

import pytest

from devtool import galaxy, package

GOOD = f"Importing with galaxy-importer\n{galaxy.LOADED}\n"


@pytest.mark.parametrize(
    ("output", "code", "complaint"),
    [
        (GOOD, 0, ""),
        ("WARNING: roles/x: no README\n" + GOOD, 0, "WARNING: roles/x: no README"),
        ("ERROR: The import failed for the following reason: authors\n", 1, "ERROR: The import failed"),
        ("Importing\n", 0, "did not say that it succeeded"),
        (GOOD, 1, "ended with 1"),
    ],
)
def test_whatever_the_importer_complains_of_is_a_failure(output, code, complaint):
    found = galaxy.complaints(output, code)
    assert complaint in found
    assert bool(found) == bool(complaint)


@pytest.mark.parametrize(
    ("declared", "used", "problem"),
    [
        ({"a.b": ">=10.1.2,<11.0.0"}, {"a.b"}, ""),
        ({}, {"a.b"}, "a.b is used and not declared"),
        ({"a.b": ">=10.1.2,<11.0.0", "c.d": "*"}, {"a.b"}, "c.d is declared and not used"),
        ({"a.b": ">=9.0.0"}, {"a.b"}, "tested with 10.1.2: declare >=10.1.2,<11.0.0"),
    ],
)
def test_dependencies_are_those_that_are_used_in_the_version_that_is_tested(declared, used, problem):
    found = galaxy.undeclared(declared, {"a.b": "10.1.2"}, used)
    assert problem in found
    assert bool(found) == bool(problem)


def test_plugins_of_other_collections_are_found_wherever_yaml_names_them():
    text = "# one.two.three\n- four.five.six:\n    x: \"{{ y | seven.eight.nine(lookup('ten.eleven.twelve')) }}\"\n"
    assert galaxy.named([text]) == {"four.five", "seven.eight", "ten.eleven"}


def test_a_tarball_holds_what_users_need_and_nothing_else():
    files = ["README.md", "LICENSE", "docs/a.md", "roles/r/tasks/main.yml", "lab/x.py", "changelogs/config.yaml"]
    shipped = set(files[:4])
    assert package.difference(shipped | {"MANIFEST.json", "FILES.json"}, files) == ""
    assert "no user needs" in package.difference(shipped | {"lab/x.py"}, files)
    assert "no user needs" in package.difference(shipped | {"docs/not-in-git.md"}, files)
    assert "lacks: docs/a.md" in package.difference(shipped - {"docs/a.md"}, files)
