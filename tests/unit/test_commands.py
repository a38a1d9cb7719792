# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that the documentation shows are commands that there are: playbooks, their variables, and the words of nat-failover and ./dev."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nat_failover import cli
from nat_failover.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = {path.stem: path for path in (ROOT / "playbooks").glob("*.yml")}
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *PLAYBOOKS.values(),
    *sorted((ROOT / "inventories").rglob("*.yml")),
]
TEXT = {path: path.read_text(encoding="utf-8") for path in PAGES}


def shown(pattern):
    """All commands that match, each with the page that shows it; what continues on the next line is one command."""
    for path, text in TEXT.items():
        for found in re.findall(pattern, text.replace("\\|", "|").replace("\\\n", " "), re.M):
            yield path.name, found.partition(" #")[0].partition("   ")[0].strip()


def variables(command):
    """The variables of -e, as NAME=VALUE or as JSON."""
    words = shlex.split(command)
    given = [words[index + 1] for index, word in enumerate(words) if word == "-e"]
    return [name for each in given for name in re.findall(r'(?:^|[{, ]"?)(nat_\w+)(?="?[:=])', each)]


RUNS = sorted(set(shown(r"ansible-playbook [^`\n]*")))


@pytest.mark.parametrize(("page", "command"), RUNS)
def test_a_playbook_that_is_shown_takes_the_variables_that_are_given(page, command):
    [name] = re.findall(r"aws_ha\.egress\.(\w+)|(?<= )nat\.yml", command) or [""]
    if not name:
        return  # the reader's own playbook
    body = re.sub(r"(?m)^ *#.*$", "", source(name))
    assert [each for each in variables(command) if not re.search(rf"\b{each}\b", body)] == []
    assert "-i " in command or name in ("provision", "teardown"), "against which inventory?"


def source(name):
    """A playbook with the task files that it includes, and those that they include."""
    text, done = PLAYBOOKS[name].read_text(encoding="utf-8"), set()
    while True:
        more = set(re.findall(r"include_tasks: (?:tasks/)?(\w+\.yml)", text)) - done
        if not more:
            return text
        text += "".join((ROOT / "playbooks" / "tasks" / file).read_text(encoding="utf-8") for file in sorted(more))
        done |= more


def test_playbooks_are_shown():
    assert {
        name for name in PLAYBOOKS if not any("aws_ha.egress." + name in command for _page, command in RUNS)
    } == set()


PREFIX = {"iam_policy": "nat_iam_", "migrate_from_nat_gateway": "nat_migrate_", "rotate_key": "nat_rotate_"}


@pytest.mark.parametrize("name", sorted(PLAYBOOKS))
def test_the_head_of_a_playbook_names_each_variable_that_it_takes(name):
    head = PLAYBOOKS[name].read_text(encoding="utf-8").partition("\n- name: ")[0]
    documented = set(re.findall(r"\bnat_\w+\b", head))
    code = source(name)[len(head) :]
    used = set(re.findall(r"\bnat_\w+\b", code))
    made = set(re.findall(r"(?m)^ *(?:register: )?(nat_\w+)(?::|$)", code))
    prefix = PREFIX.get(name, f"nat_{name}_")
    assert {each for each in used - made if each.startswith((prefix, "nat_aws_"))} - documented == set()
    assert documented - used == set()


@pytest.mark.parametrize(("page", "command"), sorted(set(shown(r"(?:`|^)(nat-failover [a-z][a-z-]*[^`|\n]*)"))))
def test_the_words_of_nat_failover_are_known(page, command):
    try:
        cli.parse(shlex.split(command)[1:])
    except (SystemExit, UsageError) as error:
        pytest.fail(f"{page} shows {command}, which nat-failover refuses: {error}")


def test_the_words_of_dev_are_known():
    known = re.findall(r"(?m)^  (\w+)  ", (ROOT / "tools/devtool/cli.py").read_text(encoding="utf-8"))
    stages = re.findall(r'Stage\(\s*"([\w-]+)"', (ROOT / "tools/devtool/stages.py").read_text(encoding="utf-8"))
    assert len(known) > 8 and len(stages) > 10
    for page, command in shown(r"\./dev [a-z][^`|\n]*"):
        words = command.split()
        assert words[1] in (*known, "help"), (page, command)
        if words[1] == "test" and "--only" in words and words[-1] != "--only":
            assert set(words[words.index("--only") + 1].split(",")) <= set(stages), (page, command)
