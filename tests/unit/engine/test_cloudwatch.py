# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics for CloudWatch: each line is a document of its format, says nothing that is not known, and a failure to write ends nothing."""

from __future__ import annotations

import json
import re

import pytest

from nat_failover.model.evidence import FAILED
from nat_failover.service.status import status
from nat_failover.web import emf
from nat_failover.web.snapshot import Snapshot

from .cloudwatch_line import AT, ROOT, assert_in_the_format, metrics
from .standing import CLAIM_B, standing
from .test_web_metrics import route, verdict


def test_a_quiet_node_has_a_line_in_the_format():
    root = assert_in_the_format(emf.line(metrics(standing()), "prod", "nat-a", AT))
    [directive] = root["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], root["Cluster"], root["Node"]) == ("NatFailover", "prod", "nat-a")
    assert directive["Dimensions"] == [["Cluster"], ["Cluster", "Node"]]
    assert root["_aws"]["Timestamp"] == 1_700_000_000_250
    values = {each["Name"]: root[each["Name"]] for each in directive["Metrics"]}
    assert values == {
        "ServiceUp": 1,
        "Forwarding": 1,
        "CanAct": 1,
        "RoutesDark": 0,
        "RoutesAwayFromHome": 0,
        "ActiveConnectionCount": 7,
    }


def test_a_service_that_does_not_answer_is_down_and_all_else_is_absent():
    found = emf.Since().metrics(Snapshot(None, "no answer", AT), 7)
    assert found == {"ServiceUp": 0}
    assert_in_the_format(emf.line(found, "prod", "nat-a", AT))


def test_what_is_not_known_is_absent():
    assert "ActiveConnectionCount" not in metrics(standing(), connections=None)
    assert "CanAct" not in metrics(standing(), mode="observe")


def test_a_dark_route_and_one_away_from_home_are_counted():
    parts = standing()
    verdict(parts, FAILED)
    assert metrics(parts)["RoutesDark"] == 1
    route(parts, CLAIM_B, parts.collector.instances["nat-a"].interface_id)
    found = metrics(parts)
    assert (found["RoutesDark"], found["RoutesAwayFromHome"]) == (0, 1)


def test_events_count_once_in_the_line_after_them():
    parts, since = standing(), emf.Since()
    parts.events.emit("adopt", "before the first line", ms=900.0)
    assert "TakeoverMilliseconds" not in metrics(parts, since=since), "the past is no news"
    for milliseconds in (640.0, 655.5):
        parts.events.emit("adopt", "rtb-1", ms=milliseconds)
    parts.events.emit("return", "rtb-1", ms=300.0)
    for step in ("mark", "stop", "stop", "start", "unmark"):  # a step that EC2 refuses is reported twice
        parts.events.emit("fence", f"{step} nat-b", peer="nat-b", step=step)
    found = metrics(parts, since=since)
    assert found["TakeoverMilliseconds"] == [640.0, 655.5] and found["Fences"] == 1
    assert_in_the_format(emf.line(found, "prod", "nat-a", AT))
    again = metrics(parts, since=since)
    assert "TakeoverMilliseconds" not in again and again["Fences"] == 0


def test_events_of_a_service_that_started_anew_are_news():
    parts, since = standing(), emf.Since()
    for _time in range(3):
        parts.events.emit("verdict", "nat-b is healthy")
    metrics(parts, since=since, boot_id="one")
    fresh = standing()
    fresh.events.emit("adopt", "rtb-1", ms=640.0)
    assert metrics(fresh, since=since, boot_id="two")["TakeoverMilliseconds"] == [640.0]


def test_a_metric_has_no_more_values_than_the_format_takes():
    parts, since = standing(), emf.Since()
    metrics(parts, since=since)
    for number in range(150):
        parts.events.emit("adopt", f"rtb-{number}", ms=float(number))
    found = metrics(parts, since=since)
    assert len(found["TakeoverMilliseconds"]) == 100 and found["TakeoverMilliseconds"][-1] == 149.0
    assert_in_the_format(emf.line(found, "prod", "nat-a", AT))


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ({"softnet_dropped": 5}, {"softnet_dropped": 5}, 0),
        ({"softnet_dropped": 5, "pps_allowance_exceeded": 1}, {"softnet_dropped": 7, "pps_allowance_exceeded": 4}, 5),
        ({"softnet_squeezed": 5}, {"softnet_squeezed": 500}, 0),
        ({"pps_allowance_exceeded": 90}, {"pps_allowance_exceeded": 2}, 2),
        ({}, {"pps_allowance_exceeded": 90}, 0),
        ({"flag": False}, {"flag": True}, 0),
    ],
    ids=[
        "none",
        "two counters",
        "a pause is no loss",
        "the driver began anew",
        "seen for the first time",
        "no counter",
    ],
)
def test_lost_packets_are_those_since_the_line_before(before, after, lost):
    parts, since = standing(), emf.Since()
    mine = json.loads(json.dumps(status(parts)))["self"]
    assert "PacketsDropCount" not in metrics(parts, since=since, self={**mine, "facts": before})
    assert metrics(parts, since=since, self={**mine, "facts": after})["PacketsDropCount"] == lost


def test_each_metric_has_a_unit():
    parts, since = standing(), emf.Since()
    metrics(parts, since=since)
    parts.events.emit("adopt", "rtb-1", ms=640.0)
    assert set(metrics(parts, since=since)) == set(emf.UNITS)


def test_the_docs_list_each_metric_with_its_unit_and_no_other():
    page = ROOT / "docs" / "monitoring.md"
    section = page.read_text(encoding="utf-8").partition("\n## CloudWatch\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (Minimum|Maximum|Sum) \|", section, re.M)
    assert {name: unit for name, unit, _statistic in rows} == emf.UNITS
