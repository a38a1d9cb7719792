# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation tells the truth about tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAFETY = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")


def test_each_named_test_is_there():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    named = set(re.findall(r"`(test_\w+)`", SAFETY))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in sources} == set()


def test_each_broken_policy_is_documented_and_the_other_way_round():
    broken = set(
        re.findall(r'^    "([a-z -]+)": \(', (ROOT / "tests/simulation/broken.py").read_text(encoding="utf-8"), re.M)
    )
    named = set()
    for words in re.findall(r"simulation ((?:`[a-z -]+`(?:, )?)+)", SAFETY):
        named |= set(re.findall(r"`([a-z -]+)`", words))
    assert len(broken) > 10
    assert broken - named == set()
    assert {name for name in named if name not in broken and "_" not in name} == set()


def test_each_name_on_the_page_of_the_architecture_is_in_the_file_that_it_is_said_to_be_in():
    page = " ".join((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split())
    said = re.findall(r"`(\w+)` (?:in |\()`([a-z_0-9/]+\.py)`", page)
    assert len(said) > 20
    for name, file in said:
        paths = [folder / file for folder in (ROOT / "plugins/module_utils/nat_failover", ROOT)]
        found = [path.read_text(encoding="utf-8") for path in paths if path.exists()]
        assert found, file
        assert re.search(rf"(?m)^ *(async )?(def|class) {name}\b|^{name}\b.* = ", found[0]), (name, file)


@pytest.mark.parametrize("page", [*sorted(path.name for path in (ROOT / "docs").glob("*.md")), "../README.md"])
def test_links_between_pages_lead_somewhere(page):
    path = ROOT / "docs" / page
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []
