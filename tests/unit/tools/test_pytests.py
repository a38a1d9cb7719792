# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests on a real clock: a few that fail are played once more, and the total says so; a real failure stays one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devtool import interpreters, paths, pytests, venv
from devtool.choice import Choice
from devtool.count import Count

# Fails as often as its file says, and counts down.
UNLUCKY = """
from pathlib import Path
def test_steady(): pass
def test_unlucky():
    left = Path(__file__).with_name("left")
    number = int(left.read_text())
    left.write_text(str(number - 1))
    assert number <= 0, f"{number} failures to come"
"""
SECOND = "test_unlucky::test_unlucky"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_unlucky.py").write_text(UNLUCKY, encoding="utf-8")
    (tmp_path / "tests" / "test_other.py").write_text("def test_other(): pass", encoding="utf-8")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "CACHE", tmp_path / ".cache")
    return tmp_path


def play(folder: Path, failures: int, beside: bool) -> Count:
    (folder / "tests" / "left").write_text(str(failures), encoding="utf-8")
    log = folder / "stage.log"
    if beside:
        return pytests.run_beside(log, "tests", lanes=2, limit=60)
    return pytests.run_timed(log, ["tests"], limit=60)


@pytest.mark.parametrize("beside", [False, True])
def test_all_pass_at_once(folder: Path, beside: bool) -> None:
    assert play(folder, 0, beside) == Count(passed=3)


@pytest.mark.parametrize("beside", [False, True])
def test_one_that_passes_when_played_once_more_is_told_as_unsteady(folder: Path, beside: bool) -> None:
    found = play(folder, 1, beside)
    assert (found.passed, found.failed, found.unsteady) == (3, 0, (f"tests.{SECOND}",))
    assert "1 failures to come" in found.tales[0]


@pytest.mark.parametrize("beside", [False, True])
def test_one_that_fails_twice_has_failed(folder: Path, beside: bool) -> None:
    found = play(folder, 2, beside)
    assert (found.passed, found.failed, found.names, found.unsteady) == (2, 1, (f"tests.{SECOND}",), ())
    assert "2 failures to come" in found.tales[0]


def test_many_failures_are_the_product_s_and_nothing_is_played_again() -> None:
    many = Count(passed=1, failed=pytests.FEW + 1)
    assert pytests.second_try(many, lambda: pytest.fail("played again")) is many


NIGHTLY = "import pytest\n@pytest.mark.nightly\ndef test_long(): pass\n"


def test_a_file_of_nightly_tests_alone_is_no_failure(folder: Path) -> None:
    (folder / "tests" / "test_long.py").write_text(NIGHTLY, encoding="utf-8")
    seen = pytests.run(folder / "stage.log", ["tests/test_long.py"], limit=60)
    assert (seen.passed, seen.failed, seen.nightly) == (0, 0, 1)
    assert pytests.run(folder / "stage.log", ["tests/test_long.py"], limit=60, choice=Choice(nightly=True)).passed == 1


def test_a_file_without_tests_is_a_failure(folder: Path) -> None:
    (folder / "tests" / "test_empty.py").write_text("", encoding="utf-8")
    seen = pytests.run(folder / "stage.log", ["tests/test_empty.py"], limit=60)
    assert (seen.failed, seen.names) == (1, ("pytest: nothing was collected",))


@pytest.mark.parametrize(
    ("here", "nightly", "main"),
    [
        (True, False, ["test_rest"]),
        (True, True, ["test_rest", "test_engine"]),
        (False, False, ["test_rest", "test_engine"]),
    ],
    ids=["with the oldest Python", "nightly", "without the oldest Python"],
)
def test_the_engine_is_played_by_the_oldest_python_and_by_the_main_one_if_need_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch, here: bool, nightly: bool, main: list[str]
) -> None:
    for name, place in (("test_rest", folder / "tests/unit"), ("test_engine", folder / pytests.ENGINE_TESTS)):
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.py").write_text(f"def {name}(): pass\n", encoding="utf-8")
    monkeypatch.setattr(interpreters, "find", lambda version: f"/python{version}" if here else None)
    monkeypatch.setattr(venv, "ensure_small", lambda *_names: paths.PYTHON)
    seen, play = [], pytests.run

    def run(log: Path, folders: list[str], **more: Any) -> Count:
        seen.append(tuple(more.get("without", ())))
        return play(log, folders, **more)

    monkeypatch.setattr(pytests, "run", run)
    choice = Choice(nightly=nightly)
    found = pytests.run_everywhere(folder / "stage.log", ["tests/unit"], limit=60, choice=choice)
    others = len(interpreters.wanted(nightly=nightly)) if here else 0
    assert seen == [() if "test_engine" in main else (pytests.ENGINE_TESTS,)] + [()] * others
    assert (found.passed, found.failed) == (len(main) + 2 * others, 0)
