# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that ask a module of this collection until the answer is good.

A result of a failed module has no claims. A condition that reads them ends the play with an error of Jinja, and neither the
module's own error is shown nor the question repeated: a node that has just booted failed a play so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FOLDERS = ("playbooks", "roles", "molecule")
FIRST = re.compile(r"^\S+ is (succeeded|failed or .*)$")
OWN = "aws_ha.egress.drill_busy"  # this filter takes a failed result, too


def test_a_repeated_question_looks_first_whether_it_was_answered() -> None:
    asked = list(questions())
    assert len(asked) >= 10, asked
    hasty = [f"{file}: {name}: {first}" for file, name, first in asked if not FIRST.match(first) and OWN not in first]
    assert not hasty, "\n".join(hasty)


@pytest.mark.parametrize(
    "first", ["x.claims | length == 0", "x.paused | default('') | length > 0", "x.claims is defined"]
)
def test_a_condition_that_reads_the_answer_of_a_failed_module_is_found(first: str) -> None:
    assert not FIRST.match(first)


def questions() -> Iterator[tuple[str, str, str]]:
    """(file, task, first condition) of each task with `until` that calls a module of this collection."""
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.yml")):
            for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
                for task in tasks(document):
                    if "until" in task and any(key.startswith("aws_ha.egress.") for key in task):
                        until = task["until"]
                        first = str(until[0] if isinstance(until, list) else until)
                        yield str(file.relative_to(ROOT)), str(task.get("name")), first


def tasks(node: object) -> Iterator[dict[str, object]]:
    """Each mapping of a document, at any depth: plays, blocks and tasks."""
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from tasks(each)
