# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of the proxy's benchmark: what is planned, the figures of the issue, the tables and the plot."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import proxy, proxy_section

FIELDS = {"vip_ms", "nlb_ms", "reload_refused", "leaks", "drain_failed", "squid_mb", "tinyproxy_mb"}


def row(way: str, fault: str, outage: float | None = 800.0, **more: Any) -> dict[str, Any]:
    """A measurement as the part records it."""
    row = {"engine": "squid", "way": way, "fault": fault, "api_ms": 0, "run": 0, "load": 1.0}
    if way in ("reload", "attack"):
        return {**row, **more}
    costs = {"engine_mb": 18.0, "health_mb": 13.0, "health_cpu_percent": 0.2}
    return {**row, "outage_ms": outage, "failed": 3, "requests": 60, "longest_ms": 1900.0, **costs, **more}


ROWS = [
    row("vip", "node killed", 800.0),
    row("vip", "node killed", 900.0, engine="tinyproxy", engine_mb=1.1),
    row("nlb", "node killed", 9000.0, verdict_ms=8800.0),
    row("nlb", "drained", 0.0, failed=0),
    row("single", "node killed", None, failed=50),
    row("reload", "under load", requests=200, failed=0, longest_ms=1040.0),
    row("attack", "without a list", trials=67, leaks=0),
]


def test_each_trial_is_planned_once_and_a_quick_run_has_all_kinds_with_one_engine() -> None:
    full, quick = list(proxy.plan(False)), list(proxy.plan(True))
    assert len({tuple(key.values()) for key in full}) == len(full)
    assert len(full) == len(proxy.ENGINES) * sum(times for *_trial, times in proxy.TRIALS)
    kinds = {(key["way"], key["fault"], key["api_ms"]) for key in full}
    assert {(key["way"], key["fault"], key["api_ms"]) for key in quick if key["engine"] == "tinyproxy"} == kinds
    assert all(key in full for key in quick) and len(quick) < len(full) / 2
    assert {key["engine"] for key in quick} == set(proxy.ENGINES)


def test_the_line_has_the_figures_of_the_issue() -> None:
    facts = proxy.facts(ROWS)
    assert facts.keys() >= FIELDS
    assert (facts["vip_ms"], facts["nlb_ms"], facts["squid_mb"], facts["tinyproxy_mb"]) == (850.0, 9000.0, 18.0, 1.1)
    assert (facts["reload_refused"], facts["leaks"], facts["drain_failed"]) == (0, 0, 0)
    assert facts["no_answer"] == ["single, node killed, API 0 ms"]


def test_what_was_not_measured_is_not_zero() -> None:
    facts = proxy.facts([])
    assert {facts[name] for name in FIELDS} == {None}
    assert proxy_section.ways([]) == proxy_section.goals([]) == proxy_section.attacks([]) == proxy_section.NOT_YET
    assert proxy_section.plots([]) == {}


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (row("vip", "node killed", 1200.0), "vip, node killed, API 0 ms: median"),
        (row("reload", "under load", requests=9, failed=1, longest_ms=900.0), "requests that failed"),
        (row("reload", "under load", requests=9, failed=0, longest_ms=1201.0), "longest request"),
        (row("attack", "the guard alone", trials=67, leaks=1), "forbidden places"),
        (row("vip", "drained", 0.0, failed=1), "drained: requests that failed"),
        (row("vip", "node killed", 800.0, health_cpu_percent=0.6), "CPU of the health check"),
        (row("vip", "node killed", 800.0, health_mb=21.0), "memory of the health check"),
    ],
)
def test_a_goal_that_is_missed_is_called_so(bad: dict[str, Any], what: str) -> None:
    [line] = [each for each in proxy_section.goals([bad]).splitlines() if "FAIL" in each]
    assert what in line


def test_all_goals_of_good_rows_are_met() -> None:
    text = proxy_section.goals(ROWS)
    assert "FAIL" not in text and text.count("PASS") == 8


def test_the_tables_and_the_plot_show_each_way() -> None:
    text = proxy_section.ways(ROWS)
    assert "| squid | single, node killed, API 0 ms | 1 | no answer | – | – | 1,900 | 50 of 60 |" in text
    assert "| squid | nlb, node killed, API 0 ms | 1 | 9,000 | 9,000 | 8,800 | 1,900 | 3 of 60 |" in text
    assert "| squid | without a list | 67 | 0 |" in proxy_section.attacks(ROWS)
    [(file, svg)] = proxy_section.plots(ROWS).items()
    ElementTree.fromstring(svg)
    assert file == "images/proxy.svg" and "vip, node killed" in svg and "drained" not in svg
