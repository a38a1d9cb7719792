# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of the benchmarks: figures, tables, plots, and results that survive a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import report
from benchmarks.store import Store
from benchmarks.summary import median, percentile, summarize
from benchmarks.svg import Lane, timeline
from benchmarks.table import table


def row(contender: str, outage: float, run: int = 0, case: str = "kill") -> dict[str, Any]:
    """A measurement as the outage part records it."""
    split = {"detect": outage - 10.0, "decide": 5.0, "api": 4.0, "fabric": 1.0}
    return {
        "contender": contender,
        "case": case,
        "api_ms": 0,
        "run": run,
        "load": 0.5,
        "lost": int(outage / 5),
        "outage_ms": outage,
        "tcp_outage_ms": outage + 20,
        "dark_s": [outage / 1000, 0],
        "split": split,
        "dark_at_end": [case != "kill", False],
        "stopped": [],
        "owners": {"a": "nat-b", "b": "nat-b"},
        "gaps": [[-0.01, outage / 1000]],
        "watched_s": outage / 1000 + 1,
    }


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(each) for each in range(1, 101)]
    assert [percentile(values, each) for each in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([3.0, 1.0], 95) == 3.0
    assert (median([3.0, 1.0]), median([3.0, 1.0, 9.0])) == (2.0, 3.0)
    assert summarize([2.0, 1.0])["runs"] == 2
    for function in (median, summarize):
        with pytest.raises(ValueError):
            function([])


def test_a_cell_cannot_break_out_of_its_table() -> None:
    assert table(["a", "b"], [["x|y", "1\n2"]]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 2 |\n"


def test_a_plot_is_xml_and_clips_what_lies_outside() -> None:
    plot = ElementTree.fromstring(
        timeline("a < b", [Lane("ours & theirs", [(-9.0, -5.0), (0.0, 99.0)], 2.0)], -1.0, 3.0)
    )
    red = [each for each in plot.iter() if each.get("fill") == "#c0392b"]
    assert len(red) == 1
    assert float(red[0].get("x", "0")) + float(red[0].get("width", "0")) <= 900


def test_a_resumed_run_finds_what_was_measured_also_after_a_crash_in_the_middle_of_a_line(tmp_path: Path) -> None:
    store = Store(tmp_path / "rows.jsonl", ("contender", "run"))
    store.add(row("default", 600.0))
    with store.path.open("a") as file:
        file.write('{"contender": "fa')
    assert store.has(contender="default", run=0)
    assert not store.has(contender="default", run=1)
    store.add(row("fast", 300.0))
    assert [each["contender"] for each in store.rows()] == ["default", "fast"]


def test_the_page_is_made_of_the_rows(tmp_path: Path) -> None:
    store = Store(tmp_path / "rows.jsonl", ())
    for each in (
        row("default", 600.0),
        row("default", 620.0, 1),
        row("article", 6000.0),
        row("article", 0, 0, "partition"),
    ):
        store.add(each)
    assert report.write(store, tmp_path) == ["docs/benchmarks.md", "docs/images/outage.svg"]
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| ours, `default` | 0 ms | 2 | 600 | 610 | 620 | 620 | 620 | 630 | 122 |" in page
    assert "| the article's loop | 9.8 | – | – |" in page
    assert "still dark at the end" in page
    assert "{{" not in page
    ElementTree.fromstring((tmp_path / "images" / "outage.svg").read_text())


def test_nothing_measured_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        report.write(Store(tmp_path / "none", ()), tmp_path)
    assert not (tmp_path / "benchmarks.md").exists()
