# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of the benchmark of connections: what is planned, the figures of the issue, the tables and the plot."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import campaign, flow_cases, flows, flows_section, sync
from benchmarks.keepalived import Synced
from lab.egress import EgressIds
from lab.traffic.driver import Flow, Opened, Seen
from lab.vpc import ZoneIds

FIELDS = {
    "level1_alive",
    "level1_senders",
    "level2_alive",
    "level2_total",
    "resets",
    "longest_stall_ms",
    "new_connection_outage_ms",
    "outage_ms_today",
}
KINDS = ("echo", "push", "down", "pull", "up", "udp", "icmp")


def flow(alive: bool = True, stall_ms: float = 900.0, error: str = "") -> dict[str, Any]:
    """A flow as it is recorded."""
    return {"alive": alive, "error": error, "stall_ms": stall_ms, "lost": None}


def row(contender: str, case: str = "crash", delay_s: float = 0.0, alive: int = 10, **more: Any) -> dict[str, Any]:
    """A measurement as the part records it. A client that is silent hangs."""
    key = {"contender": contender, "case": case, "delay_s": delay_s, "held": 10, "run": 0, "load": 1.0}
    watched = {kind: flow(kind != "push") for kind in KINDS}
    asked = {"count": 10, "alive": alive, "reset": 10 - alive, "longest_ms": 5.0}
    found = {"flows": watched, "later": {}, "asked": asked, "new_outage_ms": 700.0, "other_zone_lost": 0}
    return {**key, **found, "new_failed": 3, "addresses": [[700.0, "203.0.113.11"]], **more}


SHORT = {kind: flow(stall_ms=19.0) for kind in KINDS}
DEAD = {kind: flow(False, error="ConnectionResetError") for kind in KINDS}
ROWS = [
    row("identities"),
    row("identities", delay_s=5.0, new_outage_ms=710.0, flows={kind: flow(stall_ms=7000.0) for kind in KINDS}),
    row("identities", "drain", new_outage_ms=9.0, flows=SHORT),
    row(
        "identities",
        "return",
        new_outage_ms=12.0,
        flows=SHORT,
        later={kind: flow(stall_ms=20.0) for kind in ("echo", "down", "up")},
    ),
    row("default", alive=0, flows=DEAD),
    row("keepalived-1", alive=0, flows=DEAD, new_outage_ms=3900.0),
]


def test_each_event_is_planned_once_for_each_contender_that_knows_it() -> None:
    full, quick = list(flows.plan(False)), list(flows.plan(True))
    assert len({tuple(key.values()) for key in full}) == len(full) and len(quick) < len(full) / 2
    for keys, held in ((full, 10_000), (quick, 1_000)):
        assert {key["held"] for key in keys} == {held}
        assert {key["case"] for key in keys if key["contender"] == "identities"} == set(flow_cases.CASES)
        for peer in flows.PEERS:
            orders = {"drain", "switchover"}
            assert {key["case"] for key in keys if key["contender"] == peer} == set(flow_cases.CASES) - orders
        assert {key["delay_s"] for key in keys if key["contender"] == flows.TODAY} == {0.0}
    for name in flows.MOVE:
        assert {key["delay_s"] for key in full if key["contender"] == name} == set(flows.DELAYS_S)


def test_some_measurements_can_be_chosen() -> None:
    found = campaign.chosen(flows.plan(False), ["case=return", "contender=synchronised", "run=1"])
    assert [(key["case"], key["contender"], key["run"]) for key in found] == [("return", "synchronised", 1)]
    assert campaign.chosen(flows.plan(True), []) == list(flows.plan(True))


@pytest.mark.parametrize(
    ("only", "words"),
    [
        (["contender=default", "case=retrun"], "no measurement has case=retrun; case is one of crash, freeze, drain"),
        (["case=crash", "delay_s=5"], "delay_s is one of 0.0, 1.5, 5.0"),
        (["events=crash"], "no measurement has events=crash; that is no name of a value"),
    ],
)
def test_a_choice_that_leaves_nothing_names_the_known_values(only: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        campaign.chosen(flows.plan(False), only)


def test_keepalived_with_conntrackd_is_judged_by_all_flows() -> None:
    """It knows them all, and its Elastic IP moves."""
    found = row(flows.PEER_SYNCED)
    assert flows.alive(found) == (10 + 4, 10 + 5), "the silent client counts"
    assert flows.name(found) == "crash, keepalived-1-sync, Elastic IP after 0 s"
    assert flows.alive(row(flows.PEER)) == (10 + 4, 10 + 4)
    assert flows.figures([found]) == {}


def test_the_heir_of_keepalived_rewrites_the_address_of_the_dead_node(tmp_path: Path) -> None:
    """The flows that conntrackd brings are translated to that address, and the Elastic IP moves to one of the heir."""
    blank = {each.name: "" for each in fields(ZoneIds)}
    zones = {
        each: ZoneIds(**{**blank, "zone": each, "node": f"nat-{each}", "interface_id": f"eni-{each}"}) for each in "ab"
    }
    made = Synced(tmp_path, 1.0)
    addresses = {
        "a": EgressIds("eipalloc-a", "203.0.113.60", "10.0.0.20", {"b": "10.0.1.20"}),
        "b": EgressIds("eipalloc-b", "203.0.113.61", "10.0.1.21", {"a": "10.0.0.21"}),
    }
    made.lab = SimpleNamespace(ids=SimpleNamespace(zones=zones), egress=addresses)
    rules = made.rules(zones["b"]).splitlines()
    assert "iifname ens5 ip daddr 10.0.1.20 ip daddr set 10.0.0.20" in rules
    assert "oifname ens5 ip saddr 10.0.0.20 ip saddr set 10.0.1.20" in rules
    assert [line for line in rules if " set 10.0.1.21" in line] == [], "its own address is as it is"
    associate, replace, told = made.takeover(zones["b"], zones["a"], tmp_path)
    assert '"PrivateIpAddress": "10.0.1.20"' in associate and '"NetworkInterfaceId": "eni-b"' in replace
    assert told.startswith("wait; conntrackd ") and told.endswith(" -R")


def test_an_event_that_strikes_both_zones_counts_no_other_zone() -> None:
    text = flows_section.summary([row("identities", "crash of the heir", other_zone_lost=None)])
    assert text.splitlines()[-1].endswith("| 700 | – |")


def test_the_cost_of_conntrackd_is_that_of_its_rate() -> None:
    costs = dict.fromkeys(flows_section.COSTS, 10.0)
    rows = [
        {"rate": 2000, **costs, "owner_cpu_percent": 31.0, "opened_per_s": 1995.0},
        {"rate": 2000, **costs, "owner_cpu_percent": 33.0, "opened_per_s": 1997.0},
    ]
    assert "| 2,000 | 2 | 1,996 | 32.0 | 10.0 | 10.0 | 10.0 | 10 |" in flows_section.costs(rows)
    assert flows_section.costs([]) == flows_section.NOT_YET
    assert sync.figures(rows)["2000 connections/s: conntrackd of the owner, cpu_percent"] == 32.0


def test_the_line_has_the_figures_of_the_issue() -> None:
    facts = flows.facts(ROWS)
    assert facts.keys() >= FIELDS
    assert (facts["level1_alive"], facts["level1_senders"]) == (14 + 14 + 14 + 17, 14 + 14 + 14 + 17)
    assert (facts["level2_alive"], facts["level2_total"]) == (None, None)
    assert (facts["resets"], facts["planned_lost"], facts["longest_stall_ms"]) == (0, 0, 900.0)
    assert (facts["new_connection_outage_ms"], facts["outage_ms_today"]) == (705.0, 700.0)


def test_what_was_not_measured_is_not_zero() -> None:
    assert {flows.facts([])[name] for name in FIELDS} == {None}
    assert flows_section.summary([]) == flows_section.kinds([]) == flows_section.goals([]) == flows_section.NOT_YET
    assert flows_section.plots([]) == {}


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (row("identities", alive=9), "level 1: flows whose client sends, alive"),
        (row("identities", "drain", alive=9), "lost in a drain, a switchover or a return"),
        (row("identities", "switchover", new_outage_ms=9.0), "longest gap"),
        (row("identities", "switchover", flows=SHORT), "longest outage of new connections"),
        (row("identities", "freeze", flows={**ROWS[0]["flows"], "up": flow(False)}), "alive"),
        (row("identities", delay_s=1.5, new_outage_ms=2200.0), "new connections: crash, identities"),
    ],
)
def test_a_goal_that_is_missed_is_called_so(bad: dict[str, Any], what: str) -> None:
    lines = [each for each in flows_section.goals([*ROWS, bad]).splitlines() if "FAIL" in each]
    assert any(what in line for line in lines)


@pytest.mark.parametrize(
    ("case", "stall_ms", "lost", "met"),
    [("crash", 2090.0, 0, True), ("crash", 2100.0, 0, False), ("drain", 19.0, 0, True), ("drain", 19.0, 1, False)],
)
def test_level_2_has_goals_of_its_own(case: str, stall_ms: float, lost: int, met: bool) -> None:
    """With an outage of 900 ms: 990 ms, and a step of TCP of 1,100 ms at most. And no flow is lost in a planned move."""
    watched = {**{kind: flow(stall_ms=stall_ms) for kind in KINDS}, "udp": flow(stall_ms=900.0)}
    text = flows_section.goals([row("synchronised", case, alive=10 - lost, flows=watched)])
    wanted = "longest stall: crash" if case == "crash" else "level 2: flows lost"
    [line] = [each for each in text.splitlines() if wanted in each]
    assert line.endswith("| PASS |" if met else "| FAIL |")


def test_all_goals_of_good_rows_are_met() -> None:
    text = flows_section.goals(ROWS)
    assert "FAIL" not in text and text.count("PASS") == 6


def test_the_tables_and_the_plot_show_each_contender() -> None:
    text = flows_section.summary(ROWS)
    assert "| crash | identities, level 1 | 5 s | 1 | 10 of 10 | 0 | 7,000 | 710 | 0 |" in text
    assert "| crash | keepalived | – | 1 | 0 of 10 | 15 | – | 3,900 | 0 |" in text
    text = flows_section.kinds(ROWS)
    assert "| crash | identities, level 1, 0 s | 900 ms | hangs | 900 ms | 900 ms | 900 ms | 900 ms | 900 ms |" in text
    assert "| crash | no identities | reset | reset | reset | reset | reset | reset | reset |" in text
    later = (
        "| return, flows that began at the heir | identities, level 1, 0 s | 20 ms | – | 20 ms | – | 20 ms | – | – |"
    )
    assert later in text and text.count("began at the heir") == 1
    [(file, svg)] = flows_section.plots(ROWS).items()
    ElementTree.fromstring(svg)
    assert file == "images/flows.svg" and "keepalived" in svg


def test_the_traffic_of_a_lab_tells_stalls_and_outages() -> None:
    still = Flow(count=5, error="", gaps=[(1.0, 0.5), (9.0, 2.0), (11.0, 0.1)])
    assert (still.stall_ms(), still.stall_ms(11.05), still.alive()) == (2000.0, 100.0, True)
    assert not Flow(count=5, error="", gaps=[(9.0, 2.0)]).alive() and not Flow(5, "closed", [(9.0, 0.1)]).alive()
    opened = [
        Opened(1.0, 1.1, "a:1"),
        Opened(1.2, None, "TimeoutError"),
        Opened(1.3, 2.1, "b:1"),
        Opened(2.2, 2.3, "b:2"),
    ]
    seen = Seen({}, opened)
    assert round(seen.outage_ms(1.0)) == 1000 and round(seen.outage_ms(2.2)) == 200
    assert [each.address for each in opened] == ["a", "", "b", "b"]
    assert [address for _ms, address in flow_cases.addresses(seen, 1.05)] == ["a", "b"]
    assert round(Seen({}, [*opened, Opened(9.0, None, "")]).outage_ms(0.0)) == 6700, "an outage that has not ended"
