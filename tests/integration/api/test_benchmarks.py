# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of the benchmarks: figures, tables, plots, and results that survive a crash."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import (
    alarms,
    campaign,
    compare,
    contenders,
    footprint,
    outage,
    report,
    rollout,
    scale,
    sections,
)
from benchmarks.parts import PARTS
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
    empty = {name: Store(tmp_path / name, ()) for name in PARTS}
    assert report.write({**empty, "outage": store}, tmp_path) == ["docs/benchmarks.md", "docs/images/outage.svg"]
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| this collection, `default` | 0 ms | 2 | 600 | 610 | 620 | 620 | 620 | 630 | 122 |" in page
    assert "| the article's loop | 9.8 | – | – | – | – |" in page
    assert "still dark at the end" in page
    assert "{{" not in page
    ElementTree.fromstring((tmp_path / "images" / "outage.svg").read_text())


def test_nothing_measured_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        report.write({"outage": Store(tmp_path / "none", ())}, tmp_path)
    assert not (tmp_path / "benchmarks.md").exists()


def footprint_row(cpu: float, resident: float, python: str = "3.11", run: int = 0) -> dict[str, Any]:
    names = (
        "peak_mb",
        "private_mb",
        "wakeups_per_s",
        "threads",
        "start_ms",
        "idle_percent",
        "canary_cpu_percent",
        "canary_resident_mb",
    )
    row = {"python": python, "seconds": 20.0, "run": run, "load": 0.5, "boto3": "1.44.8"}
    return {**row, "cpu_percent": cpu, "resident_mb": resident, **dict.fromkeys(names, 9.0)}


def adoption_row(count: int, adopt: float, limit: str = "none", least: float = 0, run: int = 0) -> dict[str, Any]:
    row = {"kind": "tables", "count": count, "limit": limit, "api_ms": 0, "run": run, "load": 0.5, "adopt_ms": adopt}
    return {**row, "detect_ms": 600.0, "writes": count, "reads": 3, "refused": 0, "least_ms": least}


def test_a_death_is_held_against_the_limit_of_its_profile_and_latency() -> None:
    text = sections.limits([row("default", 740.0), row("fast", 420.0), row("article", 4000.0)])
    assert "| `default` | yes | 0 ms | 750 | 740 | 740 | PASS |" in text
    assert "| `fast` | yes | 0 ms | 400 | 420 | 420 | FAIL |" in text
    assert "article" not in text


@pytest.mark.parametrize(
    ("profile", "limits"), [("fast", (400, 500, 700, 1400, 2400)), ("default", (750, 850, 1050, 2150, 4150))]
)
def test_fast_has_one_latency_and_default_the_longer_one_of_silence_and_latency_besides(
    profile: str, limits: tuple[int, ...]
) -> None:
    assert tuple(sections.limit_ms(profile, latency) for latency in outage.LATENCIES) == limits


def test_clusters_without_the_tag_have_rows_of_their_own() -> None:
    slow = [{**row(name, value), "api_ms": 1000} for name, value in (("fast", 1390.0), ("fast-untagged", 1410.0))]
    text = sections.limits(slow)
    assert "| `fast` | yes | 1000 ms | 1,400 | 1,390 | 1,390 | PASS |" in text
    assert "| `fast` | no | 1000 ms | 1,400 | 1,410 | 1,410 | FAIL |" in text
    assert set(outage.figures(slow)) == {f"kill, {each['contender']}, API 1000 ms: outage_ms" for each in slow}
    assert "`fast`, instances without the tag | 1000 ms |" in report.outages(slow, "kill")


def test_a_cluster_without_the_tag_keeps_all_others(api: Any) -> None:
    before = _tags(api)
    zones = {name: SimpleNamespace(instance_id=name) for name in before}
    lab = SimpleNamespace(ids=SimpleNamespace(zones=zones), client=api.client)
    contenders._untag(SimpleNamespace(lab=lab))  # type: ignore[arg-type]
    assert before and all("nat-failover:cluster" in tags for tags in before.values())
    kept = {name: {key for key in tags if key != "nat-failover:cluster"} for name, tags in before.items()}
    assert {name: set(tags) for name, tags in _tags(api).items()} == kept


def _tags(api: Any) -> dict[str, dict[str, str]]:
    """The tags of each node's instance, by its id."""
    found = [each for group in api.client().describe_instances()["Reservations"] for each in group["Instances"]]
    tags = {each["InstanceId"]: {tag["Key"]: tag["Value"] for tag in each.get("Tags", ())} for each in found}
    return {name: given for name, given in tags.items() if "nat-failover:node" in given}


def test_each_kill_is_planned_at_each_latency_with_the_tag_and_without() -> None:
    planned = list(outage.plan(2))
    assert len(set(planned)) == len(planned), "a row would not be known again"
    kills = {(name, latency) for name, case, latency, _run in planned if case == "kill"}
    names = ("default", "fast", "default-untagged", "fast-untagged", *outage.PEERS)
    assert kills == {(name, latency) for name in names for latency in (0, 100, 300, 1000, 2000)}
    assert set(names) == set(report.NAMES)


def test_a_footprint_over_one_limit_fails() -> None:
    assert sections.footprints([footprint_row(0.9, 45.0)]).count("PASS") == 1
    for cpu, resident in ((1.2, 45.0), (0.9, 65.0)):
        assert sections.footprints([footprint_row(cpu, resident)]).count("FAIL") == 1
    assert sections.footprints([]) == sections.NOT_YET


def test_adoptions_are_told_in_units_of_one_table_or_of_the_bucket() -> None:
    rows = [adoption_row(1, 10.0), adoption_row(200, 400.0), adoption_row(200, 34000.0, "EC2", 30000.0)]
    text = sections.adoptions(rows)
    assert "| 200 | none | 0 ms | 400 | 40.0 x one table |" in text
    assert "1.13 x the bucket's own time, FAIL" in text
    assert scale.least_s(200) == 30.0 and scale.least_s(50) == 0.0
    for plot in sections.plots({"scale": rows, "footprint": [footprint_row(0.9, 45.0)]}).values():
        ElementTree.fromstring(plot)


def rollout_row(hosts: int, second: float, run: int = 0) -> dict[str, Any]:
    figures = {"wall_s": second, "operator_cpu_s": 1.0, "host_cpu_s": 2.5, "trips": 11.0, "sent_kb": 2300, "changed": 0}
    first = {**figures, "wall_s": 8.0, "tasks": {"engine | Once": 0.5, "look | Ask the host": 0.4}}
    return {
        "hosts": hosts,
        "run": run,
        "load": 0.5,
        "first": first,
        "second": {**figures, "tasks": {"look | Ask the host": 0.3}},
    }


def test_a_rollout_is_told_per_host_and_per_task() -> None:
    rows = [rollout_row(2, 5.0), rollout_row(20, 4.0), rollout_row(20, 4.5, 1)]
    text = sections.rollouts(rows)
    assert "| 2 | first | 16 s | 8.00 s | 1.00 s | 2.50 s | 11 | 2,300 kB |" in text
    assert "| 20 | second | 85 s | 4.25 s |" in text
    text = sections.rollout_tasks(rows)
    assert (
        "task (20 hosts)" in text
        and "| look \\| Ask the host | 400 | 300 |" in text
        and "| engine \\| Once | 500 | – |" in text
    )
    assert rollout.figures(rows)["20 hosts, second run: wall_s"] == 4.25
    assert list(sections.plots({"scale": [], "footprint": [], "rollout": rows})) == ["images/rollout.svg"]
    assert (sections.rollouts([]), sections.rollout_tasks([])) == (sections.NOT_YET, sections.NOT_YET)
    assert [key["hosts"] for key in rollout.plan(quick=True)] == [2, 20]


def test_what_got_worse_since_the_run_before_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "footprint.jsonl"
    store = footprint.PART.store(path)
    store.add(footprint_row(1.0, 60.0))
    assert compare.lines(footprint.PART, path) == []
    store.set_aside()
    assert store.rows() == []
    store.add(footprint_row(1.2, 40.0))
    found = {line.name: (line.worse, line.better) for line in compare.lines(footprint.PART, path)}
    assert found["Python 3.11: cpu_percent"] == (True, False)
    assert found["Python 3.11: resident_mb"] == (False, True)
    assert found["Python 3.11: start_ms"] == (False, False)
    text = compare.markdown(compare.lines(footprint.PART, path)).splitlines()
    assert text[2].startswith("| footprint | Python 3.11: cpu_percent | 1 | 1.2 | +20 % | **worse** |")


def test_a_campaign_measures_what_is_missing_and_goes_on_after_a_failure(tmp_path: Path) -> None:
    asked = []

    def measure(key: dict[str, Any]) -> dict[str, Any]:
        asked.append(key["run"])
        if key["run"] == 1 and asked.count(1) == 1:
            raise RuntimeError("the lab did not come up")
        return {"value": 1.0}

    part = campaign.Part("x", ("run",), lambda quick: [{"run": n} for n in range(3)], measure, lambda rows: {})
    path = tmp_path / "x.jsonl"
    assert campaign.run(part, quick=True, path=path)[1] == 1
    store, failed = campaign.run(part, quick=True, path=path)
    assert (failed, asked) == (0, [0, 1, 2, 1])
    assert sorted(each["run"] for each in store.rows()) == [0, 1, 2]
    campaign.run(part, quick=True, resume=False, path=path)
    assert len(asked) == 7 and len(store.before.rows()) == 3


def test_the_formula_of_silences_agrees_with_dice() -> None:
    # fast: two heartbeats are due within 250 ms; from 150 ms on there is time for five pairs of probes
    exact = alarms.silences_per_year("fast", "20 % loss")
    assert exact is not None
    interval, chance = 0.1, 0.2**2 * (1 - 0.8**2) ** 10
    assert exact == pytest.approx(2 * alarms.YEAR_S / interval * chance)
    assert alarms.silences_per_year("default", "5 % loss") < alarms.silences_per_year("default", "10 % loss")  # type: ignore[operator]
    assert alarms.silences_per_year("fast", "jitter") is None


def test_a_network_that_is_dead_half_of_the_time_is_an_alarm_and_a_good_one_is_none() -> None:
    def dead(world: Any, rng: Any) -> None:
        world.timeline.after(5.0, lambda: world.hosts["nat-0"].power("off"))

    assert alarms.suffer("default", dead, "seed", 20.0)[0] >= 1
    assert alarms.suffer("default", alarms.lossy(0.01), "seed", 60.0) == (0, 0)


def measured_where(key: dict[str, Any]) -> dict[str, Any]:
    """In which process; ``broken`` cannot be measured there."""
    if key["case"] == "broken" and os.getpid() != int(key["own"]):
        raise ValueError("not here")
    return {"pid": os.getpid()}


def test_neighbours_are_measured_at_once_each_in_a_process_of_its_own(tmp_path: Path) -> None:
    keys = [
        {"case": case, "run": run, "own": os.getpid()}
        for case, run in (("a", 0), ("b", 0), ("b", 1), ("broken", 0), ("broken", 1))
    ]
    part = campaign.Part(
        "where",
        ("case", "run"),
        lambda quick: keys,
        measured_where,
        lambda rows: {},
        lambda key: None if key["case"] == "a" else key["case"],
    )
    store, failed = campaign.run(part, quick=True, path=tmp_path / "rows.jsonl")
    pids = {(row["case"], row["run"]): row["pid"] for row in store.rows()}
    assert failed == 2 and set(pids) == {("a", 0), ("b", 0), ("b", 1)}
    assert pids["a", 0] == os.getpid() and os.getpid() not in (pids["b", 0], pids["b", 1])
    _store, failed = campaign.run(part, quick=True, path=tmp_path / "rows.jsonl")
    assert failed == 2 and len(store.rows()) == 3, "what is there is not measured again, what failed is tried again"
