# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals of a drill, and its report."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

CLAIMS = [
    {
        "route_table": f"rtb-{zone}",
        "destination": "0.0.0.0/0",
        "home": f"nat-{zone}",
        "owner": f"nat-{zone}",
        "target": f"eni-{zone}",
    }
    for zone in "ab"
]


def info(host, peer, **changes):
    """The answer of nat_failover_info on a node that is well."""
    well = {"item": host, "state": "active", "paused": "", "forwarding": True, "fact": "", "claims": CLAIMS}
    rest = {"verdicts": [{"peer": peer, "verdict": "healthy"}], "withheld": [], "drift": []}
    return {**well, **rest, **changes}


def pair(**changes):
    """Both nodes, the second one with changes."""
    return [info("nat-a", "nat-b"), info("nat-b", "nat-a", **changes)]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def drill(load):
    return load("plugin_utils.drill")


def test_a_cluster_at_rest_may_be_drilled(drill):
    assert drill.problem(pair(), "nat-a", ["drain", "stop"], "", ["client-a"]) == ""
    assert drill.problem(pair(), "nat-a", ["kill"], "nat-a", ["client-a"]) == ""


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"node": "nat-x"}, "nat_drill_node (got 'nat-x') is no node of this run; name one of: nat-a, nat-b"),
        ({"clients": []}, "no client to measure from"),
        ({"steps": []}, "nat_drill_steps is empty"),
        ({"steps": ["drain", "kill"]}, "if that is meant, name it again: -e nat_drill_kill=nat-a"),
        ({"steps": ["kill"], "kill": "nat-b"}, "the step kill takes nat-a off the network"),
        ({"entries": [info("nat-a", "nat-b")]}, "nat-a has no peer in this run"),
        ({"entries": []}, "name one of: none"),
    ],
)
def test_what_was_asked_for_is_checked(drill, asked, text):
    given = {"entries": pair(), "node": "nat-a", "steps": ["drain"], "kill": "", "clients": ["client-a"], **asked}
    assert text in drill.problem(**given)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"unreachable": True, "msg": "timed out\nafter 10 s"}, "nat-b does not answer: timed out after 10 s"),
        ({"failed": True, "msg": "no service"}, "nat-b does not answer: no service"),
        ({"paused": "the cluster is paused until 12:00"}, "paused until 12:00; end it first: `nat-failover unpause`"),
        ({"state": "drained"}, "nat-b is drained; end that first: `nat-failover resume`"),
        ({"forwarding": False, "fact": "ip_forward=0"}, "nat-b does not forward: ip_forward=0"),
        ({"verdicts": [{"peer": "nat-a", "verdict": "sick"}]}, "not redundant, as nat-b sees it: nat-a sick"),
        ({"verdicts": []}, "not redundant, as nat-b sees it: it has no peer"),
        ({"claims": [{**CLAIMS[0], "owner": "nat-b"}]}, "rtb-a 0.0.0.0/0 is with nat-b, and its home is nat-a"),
        ({"claims": [{**CLAIMS[0], "owner": None, "target": "igw-1"}]}, "is with igw-1, and its home is nat-a"),
        ({"withheld": ["adopt rtb-a"]}, "nat-b is busy: adopt rtb-a"),
        ({"drift": ["rtb-a targets igw-1"]}, "nat-b is busy: rtb-a targets igw-1"),
    ],
)
def test_a_cluster_that_is_not_at_rest_is_refused(drill, changes, text):
    assert text in drill.problem(pair(**changes), "nat-a", ["drain"], "", ["client-a"])
    assert text in drill.busy(pair(**changes))


def test_the_cause_is_named_before_its_effects(drill):
    away = [{**CLAIMS[1], "owner": "nat-a"}]
    entries = [info("nat-a", "nat-b", claims=away), info("nat-b", "nat-a", claims=away, state="drained")]
    assert drill.busy(entries) == "nat-b is drained; end that first: `nat-failover resume`"


# --- the part on the node ---------------------------------------------------------------------------------------------


# --- the report -------------------------------------------------------------------------------------------------------


def target(kind="udp", gaps=(), lost=()):
    return {
        "target": f"{kind}://198.51.100.10",
        "kind": kind,
        "interval_s": 0.02,
        "began": 990.0,
        "ended": 1100.0,
        "sent": 5000,
        "answered": 5000 - len(lost),
        "lost": list(lost),
        "gaps": list(gaps),
        "seconds": [[second, 50, 50, 1.0] for second in range(110)],
        "addresses": [[991.0, "203.0.113.10"], [1003.0, "203.0.113.11"]],
    }


def made(drill, clients=None):
    steps = [
        {"step": "kill", "began": 1000.0, "done": 1000.5, "ended": 1040.0},
        {"step": "drain", "began": 1050.0, "done": 1052.0, "ended": 1060.0},
    ]
    results = {"client-a": {"targets": [target(gaps=[[1000.2, 0.61], [1070.0, 9.0]], lost=[1000.3, 1000.5, 1071.0])]}}
    rows = [
        {"item": {"item": name}, "rc": 0, "stdout": json.dumps(found)} for name, found in (clients or results).items()
    ]
    rows.append({"item": {"item": "client-z"}, "unreachable": True})
    event = {"at": 1000.8, "kind": "adopt", "text": "rtb-a from <nat-a>", "seq": 7}
    told = [
        {"item": "nat-b", "rc": 0, "stdout": json.dumps({"incidents": [{"events": [event, {**event, "at": 900.0}]}]})},
        {"item": "nat-a", "rc": 3, "stdout": ""},
    ]
    return drill.report("prod", "nat-a", steps, rows, told)


def test_an_outage_belongs_to_the_step_in_which_it_was(drill):
    found = made(drill)
    kill, drain = (step["clients"]["client-a"][0] for step in found["steps"])
    assert (kill["outage_ms"], kill["lost"], kill["address"]) == (610, 2, "203.0.113.11")
    assert (drain["outage_ms"], drain["lost"]) == (20, 0), "no gap: answers came at the interval"
    assert 1900 < kill["sent"] < 2100
    assert found["steps"][0]["events"] == {"nat-b": [{"at": 1000.8, "kind": "adopt", "text": "rtb-a from <nat-a>"}]}
    assert found["steps"][1]["events"] == {"nat-b": []}
    assert found["summary"] == ["kill: udp 610 ms, lost 2", "drain: udp 20 ms, lost 0", "client-z: no measurement"]
    assert found["schema"] == 1 and json.loads(json.dumps(found)) == found


def test_without_a_client_the_report_says_so(drill):
    assert made(drill, {"client-a": {}})["summary"][0] == "kill: no client has reported"


class Reader(HTMLParser):
    """Checks that tags are closed, and keeps text and attributes."""

    VOID = ("meta", "rect", "line")

    def __init__(self):
        super().__init__()
        self.open, self.words, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in self.VOID or tag == "rect":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        while self.open and self.open[-1] in ("p", "td", "tr", "th", "rect", "line") and self.open[-1] != tag:
            self.open.pop()
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_shows_all_of_it_without_assets_and_without_markup_of_others(drill, load):
    page = load("plugin_utils.drill_page").page(made(drill))
    reader = Reader()
    reader.feed(page)
    words = " ".join(reader.words)
    for text in ("Drill of nat-a in cluster prod", "610", "rtb-a from <nat-a>", "client-a udp", "nat-b events"):
        assert text in words, text
    assert "<nat-a>" not in page and "1000.2 s" not in page
    assert not {"src", "href"} & {name for name, _value in reader.attributes} and "<script" not in page
    assert "default-src 'none'" in page
