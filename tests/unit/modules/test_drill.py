# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook drill: what it refuses, what its client measures, what its part on a node undoes, what its report says."""

from __future__ import annotations

import http.server
import importlib.util
import json
import socket
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser

import pytest

from .conftest import ROOT

FILES = ROOT / "playbooks" / "files"
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


def module(name):
    spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


NODE = module("drill_node")


class Host:
    """A host that remembers its commands. ``fails``: the beginning of a command -> how often it fails."""

    def __init__(self, folder):
        self.calls, self.fails, self.rules = [], {}, []
        self.node = NODE.Node(str(folder), self.run, lambda _seconds: None)

    def run(self, argv):
        line = " ".join(argv)
        self.calls.append(line)
        for begin, left in self.fails.items():
            if line.startswith(begin) and left > 0:
                self.fails[begin] -= 1
                return 1, "refused by the service"
        if " -t raw -I " in line:
            self.rules.append((argv[0], argv[5], argv[8]))
        if " -t raw -D " in line:
            rule = (argv[0], argv[5], argv[7])
            if rule not in self.rules:
                return 1, "no such rule"
            self.rules.remove(rule)
        return 0, ""


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


UNDONE = {
    "drain": "/usr/local/bin/nat-failover resume",
    "switchover": "/usr/local/bin/nat-failover resume",
    "stop": "systemctl start",
}


@pytest.mark.parametrize(
    ("step", "more", "does"),
    [
        ("drain", "", "/usr/local/bin/nat-failover drain --wait 60 --reason a drill"),
        ("switchover", "nat-b", "/usr/local/bin/nat-failover switchover --to nat-b --wait 60 --reason a drill"),
        ("stop", "", "systemctl stop nat-failover.service"),
    ],
)
def test_a_step_arms_its_way_back_before_it_is_taken(host, step, more, does):
    done = host.node.begin(step, "120", more)
    assert done["step"] == step and done["began"] <= done["done"]
    armed, taken = host.calls
    assert armed.startswith("systemd-run ") and "--on-active=120s" in armed and armed.endswith(" back")
    assert taken == does
    host.calls.clear()
    back = host.node.back()
    assert (back["changed"], back["step"]) == (True, step)
    assert any(call.startswith(UNDONE[step]) for call in host.calls)
    assert host.calls[-1] == "systemctl stop aws-ha-egress-drill-back.timer", "the timer goes last"
    host.calls.clear()
    assert host.node.back()["changed"] is False and host.calls == []


def test_a_kill_has_its_time_and_leaves_no_rule(host):
    host.node.begin("kill", "600", "45")
    assert "--on-active=45s" in host.calls[0] and host.calls[1].endswith(" silence") and host.rules == []
    host.node.silence()
    assert sorted(host.rules) == sorted(
        (table, chain, flag)
        for table in ("iptables", "ip6tables")
        for chain, flag in (("PREROUTING", "-i"), ("OUTPUT", "-o"))
    )
    host.node.silence()  # twice, as after a restart of the unit
    assert host.node.back()["changed"] and host.rules == []


@pytest.mark.parametrize("fails", ["/usr/local/bin/nat-failover drain", "systemd-run"])
def test_a_step_that_is_refused_is_undone(host, fails):
    host.fails = {fails: 1}
    with pytest.raises(NODE.Refused, match="refused by the service"):
        host.node.begin("drain", "120")
    host.node.back()
    assert host.node.begin("drain", "120")["step"] == "drain", "nothing is left of the first one"


def test_two_drills_at_a_time_are_refused(host):
    host.node.begin("drain", "120")
    with pytest.raises(NODE.Refused, match=r"a drill is under way here \(drain\)"):
        host.node.begin("stop", "120")
    with pytest.raises(NODE.Refused, match="unknown step 'explode'; known: drain"):
        host.node.begin("explode", "120")


def test_a_resume_waits_for_a_service_that_starts(host):
    host.node.begin("drain", "120")
    host.fails = {"/usr/local/bin/nat-failover resume": 3}
    assert host.node.back()["changed"]
    assert sum(call.startswith("/usr/local/bin/nat-failover resume") for call in host.calls) == 4


def test_a_way_back_that_fails_is_told_and_stays_to_do(host, capsys):
    host.node.begin("drain", "120")
    host.fails = {"/usr/local/bin/nat-failover resume": 99}
    assert NODE.main(["back"], host.node) == 1
    assert capsys.readouterr().err == "the way back from drain: refused by the service\n"
    host.fails = {}
    assert NODE.main(["back"], host.node) == 0 and json.loads(capsys.readouterr().out)["changed"]


def test_an_unknown_word_is_one_line(host, capsys):
    assert NODE.main(["explode"], host.node) == 1
    assert capsys.readouterr().err == "unknown word; known: begin, back, silence\n"


# --- the client -------------------------------------------------------------------------------------------------------


class Page(http.server.BaseHTTPRequestHandler):
    """Answers as an echo of the caller's address does."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"203.0.113.9\n")

    def log_message(self, *_words):
        pass


@pytest.fixture
def internet():
    """UDP that echoes while ``answers``, and HTTP."""

    class Internet:
        answers = True

    made = Internet()
    made.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.udp.bind(("127.0.0.1", 0))

    def echo():
        while True:
            data, sender = made.udp.recvfrom(2048)
            if not data:
                return
            if made.answers:
                made.udp.sendto(data, sender)

    threads = [threading.Thread(target=echo, daemon=True)]
    made.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threads.append(threading.Thread(target=made.http.serve_forever, daemon=True))
    for thread in threads:
        thread.start()
    made.at_udp, made.at_http = made.udp.getsockname()[1], made.http.server_port
    yield made
    made.http.shutdown()
    made.http.server_close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"", ("127.0.0.1", made.at_udp))
    threads[0].join(5)
    made.udp.close()


def client(*words, check=True):
    return subprocess.run(
        [sys.executable, str(FILES / "drill_client.py"), *words],
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_client_measures_by_all_protocols_and_finds_a_silence(internet, tmp_path):
    udp, web = internet.at_udp, internet.at_http
    targets = [f"udp://127.0.0.1:{udp}", f"dns://127.0.0.1:{udp}", f"tcp://127.0.0.1:{web}", f"http://127.0.0.1:{web}/"]
    client("start", str(tmp_path), "60", "10", *targets)
    time.sleep(1.0)
    internet.answers = False
    time.sleep(0.6)
    internet.answers = True
    time.sleep(1.5)
    found = {each["kind"]: each for each in json.loads(client("report", str(tmp_path)).stdout)["targets"]}
    assert set(found) == {"udp", "dns", "tcp", "http"}
    for kind in ("udp", "dns"):
        assert max(length for _at, length in found[kind]["gaps"]) >= 0.55
        assert found[kind]["sent"] - found[kind]["answered"] == len(found[kind]["lost"]) > 10
    for kind in ("tcp", "http"):
        assert found[kind]["sent"] == found[kind]["answered"] > 3 and found[kind]["lost"] == []
    assert [address for _at, address in found["http"]["addresses"]] == ["203.0.113.9"]
    assert all(abs(each["began"] - time.time()) < 60 for each in found.values())


def test_a_client_that_nobody_ends_removes_itself(internet, tmp_path):
    folder = tmp_path / "left"
    folder.mkdir()
    client("start", str(folder), "0.3", "20", f"udp://127.0.0.1:{internet.at_udp}")
    end = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("url", ["https://198.51.100.10/", "tcp://", "198.51.100.10"])
def test_a_target_that_is_none_is_refused_before_anything_starts(tmp_path, url):
    done = client("start", str(tmp_path), "60", "20", url, check=False)
    assert done.returncode == 1 and "no target; write dns://, udp://, tcp:// or http://" in done.stderr


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
