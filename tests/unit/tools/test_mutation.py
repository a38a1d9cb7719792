# SPDX-License-Identifier: GPL-3.0-or-later
"""The score of ./dev mutate: which verdicts count as which, and which explanations are refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.mutation import results

ENTRY = {"file": "policy/a.py", "function": "f", "line": "x < y", "mutants": ["x <= y"], "reason": "Never equal."}


def mutant(key, new="x <= y", **changes):
    given = {"file": "policy/a.py", "function": "f", "row": 7, "old": "x < y", "new": new, "key": key}
    return SimpleNamespace(**{**given, **changes})


def known(tmp_path, **outcomes):
    found = results.Known(tmp_path / "verdicts.jsonl")
    for key, outcome in outcomes.items():
        found.add({"key": key, "outcome": outcome, "by": "test_it" if outcome == "killed" else ""})
    return found


def listed(**changes):
    return [results.Equivalent(**{**ENTRY, "mutants": ("x <= y",), **changes})]


def test_a_survivor_with_an_explanation_counts_as_equivalent(tmp_path):
    mutants = [mutant("1"), mutant("2", "x >= y"), mutant("3", "x == y"), mutant("4", "x != y")]
    verdicts = known(tmp_path, **{"1": "survived", "2": "survived", "3": "killed"})
    score, remarks = results.count(mutants, verdicts, listed())
    assert score == results.Score(mutants=4, killed=1, survived=1, equivalent=1, left=1)
    assert score.line()["percent"] == 50.0
    assert remarks == ["survived: policy/a.py:7 f: x < y  ->  x >= y"]


def test_an_explanation_of_a_mutant_that_a_test_kills_is_wrong(tmp_path):
    score, remarks = results.count([mutant("1")], known(tmp_path, **{"1": "killed"}), listed())
    assert (score.killed, score.equivalent) == (1, 0)
    assert remarks == ["listed as equivalent, but killed by test_it: policy/a.py:7 f: x < y  ->  x <= y"]


@pytest.mark.parametrize("changes", [{"file": "policy/b.py"}, {"function": "g"}, {"line": "x < z"}])
def test_an_explanation_of_a_line_that_has_gone_is_reported(tmp_path, changes):
    score, remarks = results.count([mutant("1")], known(tmp_path, **{"1": "survived"}), listed(**changes))
    assert (score.survived, score.equivalent) == (1, 0)
    assert any("explains a line that is not there" in remark for remark in remarks)


def test_without_a_verdict_there_is_no_percentage(tmp_path):
    score, _remarks = results.count([mutant("1")], known(tmp_path), [])
    assert score.line() == {"mutants": 1, "killed": 0, "survived": 0, "equivalent": 0, "left": 1, "percent": None}


def test_verdicts_outlive_a_crash_in_the_middle_of_a_line(tmp_path):
    found = known(tmp_path, **{"1": "survived", "2": "killed"})
    found.add({"key": "1", "outcome": "killed", "by": "test_new"})
    with found.path.open("a", encoding="utf-8") as file:
        file.write('{"key": "3", "outc')
    again = results.Known(found.path)
    assert [again.row(key) and again.row(key)["outcome"] for key in "123"] == ["killed", "killed", None]


@pytest.mark.parametrize("without", sorted(ENTRY))
def test_an_entry_without_one_of_its_fields_is_refused(tmp_path, without):
    path = tmp_path / "mutants.toml"
    lines = [f"{name} = {value!r}" for name, value in ENTRY.items() if name != without]
    path.write_text("[[equivalent]]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="entry 1 needs each of file, function, line, mutants, reason"):
        results.equivalents(path)


def test_each_entry_of_the_list_has_all_of_its_fields():
    assert all(entry.reason for entry in results.equivalents())


def test_verdicts_on_mutants_that_have_gone_are_dropped_and_the_last_one_of_a_mutant_stays(tmp_path):
    found = known(tmp_path, **{"2": "survived", "1": "killed", "gone": "killed"})
    found.add({"key": "2", "outcome": "killed", "by": "test_new"})
    found.tidy({"1", "2", "3"})
    again = results.Known(found.path)
    assert found.path.read_text(encoding="utf-8").count("\n") == 2
    assert (again.row("1")["by"], again.row("2")["by"], again.row("gone")) == ("test_it", "test_new", None)
