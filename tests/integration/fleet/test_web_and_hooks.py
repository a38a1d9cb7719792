# SPDX-License-Identifier: GPL-3.0-or-later
"""The units beside the service under a real systemd: the role turns them on and off, and each does its work in its sandbox.

A probe looks at the sandbox from within: it runs as the hook, and in the place of the web process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.fleet.conftest import KEY, Fleet

NODES = ("nat-a", "nat-b")
UNITS = WEB, HOOKS, CLOUDWATCH = tuple(f"nat-failover-{name}.service" for name in ("web", "hooks", "cloudwatch"))
PORT = 9743
METRICS = "/run/nat-failover-cloudwatch/metrics.log"
PROGRAM = "/opt/nat-hooks/probe"
WANTED: dict[str, Any] = {
    "nat_instance_web": {
        "listen": "0.0.0.0",
        "allow": ["10.0.0.0/23"],
    },  # the nodes, not the clients of the private subnets
    "nat_instance_hooks": [{"name": "probe", "run": [PROGRAM, "--said"], "events": ["drained", "resumed"]}],
    "nat_instance_cloudwatch": {"emf": "file", "interval_s": 10},
}
# One line of JSON: the event on standard input, and what the process reaches.
PROBE = r"""#!/usr/bin/python3
import json, os, socket, sys

def tried(what):
    try:
        return what() or "done"
    except OSError as error:
        return type(error).__name__

def told(request):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(3)
        client.connect("/run/nat-failover/status.sock")
        client.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(client.makefile().readline())
    return answer.get("error") or "answered"

def control():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("/run/nat-failover/control.sock")

print(json.dumps({
    "event": json.loads(sys.stdin.read() or "{}"),
    "argv": sys.argv[1:],
    "aws": sorted(name for name in os.environ if name.startswith("AWS")),
    "key": tried(lambda: open("/etc/nat-failover/heartbeat.key").read() and "done"),
    "etc": tried(lambda: open("/etc/nat-failover-probe", "w").close()),
    "control": tried(control),
    "status": tried(lambda: told({"do": "status"})),
    "order": tried(lambda: told({"do": "drain"})),
    "imds": tried(lambda: socket.create_connection(("169.254.169.254", 80), 1).close()),
}))
"""
# Joins the unit's cgroup (its rules of the network hold there) and its mounts, and becomes its user. The root is named as well: where
# ./dev itself runs in a chroot, as a bare machine does, the root of these mounts is the one outside of it.
INSIDE = (
    "unit=$1; shift; pid=$(systemctl show --property=MainPID --value $unit); "
    "echo $$ >/sys/fs/cgroup/system.slice/$unit/cgroup.procs; "
    "user=$(stat -c %u /proc/$pid); groups=$(sed -n 's/^Groups:\\t//p' /proc/$pid/status | sed 's/ *$//; s/ /,/g'); "
    "exec nsenter --target=$pid --mount --root setpriv --reuid=$user --regid=$user --groups=$groups "
    '--bounding-set=-all --inh-caps=-all --no-new-privs "$@" </dev/null'
)


@pytest.fixture(scope="module")
def watched(fleet: Fleet) -> Iterator[Fleet]:
    """The program of the hook is on the nodes, and the inventory asks for all units. In the end none is there."""
    for node in NODES:
        install = f"mkdir -p {PROGRAM.rpartition('/')[0]} && cat >{PROGRAM} && chmod 0755 {PROGRAM}"
        fleet.lab.exec(node, ["sh", "-c", install], input=PROBE)
    before = fleet.inventory.read_text(encoding="utf-8")
    fleet.write_inventory(nat_instance_heartbeat_key=key(fleet), **WANTED)
    yield fleet
    fleet.inventory.write_text(before, encoding="utf-8")
    if any(files(fleet, node) for node in NODES):
        fleet.run("site")


def key(fleet: Fleet) -> str:
    """The key that the nodes have now: another file of tests may have replaced the first one."""
    return fleet.node("nat-a", "cat", "/etc/nat-failover/heartbeat.key").strip() or KEY


def files(fleet: Fleet, node: str) -> list[str]:
    """The unit files, with the links that start them."""
    found = fleet.node(node, "find", "/etc/systemd/system", "-name", "nat-failover-*.service").split()
    return sorted(path for path in found if path.rpartition("/")[2] in UNITS)


def shown(fleet: Fleet, node: str, unit: str, name: str) -> str:
    return fleet.node(node, "systemctl", "show", f"--property={name}", "--value", unit).strip()


def process(fleet: Fleet, node: str, unit: str) -> dict[str, str]:
    """/proc/PID/status of a unit's process."""
    text = fleet.node(node, "cat", f"/proc/{shown(fleet, node, unit, 'MainPID')}/status")
    return {name: value.strip() for name, _colon, value in (line.partition(":") for line in text.splitlines())}


def get(fleet: Fleet, reader: str, path: str, address: str = "10.0.0.10") -> tuple[str, str]:
    """(status code, body) of a page. The code is 000 for no answer."""
    argv = ["curl", "--silent", "--max-time", "5", "--write-out", "\n%{http_code}", f"http://{address}:{PORT}{path}"]
    body, _newline, code = fleet.lab.exec(reader, argv, check=False).stdout.rpartition("\n")
    return code, body


def reports(fleet: Fleet, node: str) -> list[dict[str, Any]]:
    """The lines of the probe in the journal of the hooks: each follows the hook's own words."""
    lines = fleet.node(node, "journalctl", "--unit=nat-failover-hooks", "--output=cat", "--no-pager").splitlines()
    return [json.loads(line.partition(" is done: ")[2]) for line in lines if " is done: " in line]


def assert_shut_in(report: dict[str, Any]) -> None:
    """The process reads the status, and nothing else of the service or of the instance."""
    assert report["aws"] == []
    assert report["status"] == "answered"
    assert report["order"] == "unknown request 'drain'; known here: status, events"
    assert (report["key"], report["control"]) == ("PermissionError", "PermissionError")
    assert report["etc"] == "OSError", "a file system that is read-only"
    assert report["imds"] != "done", "the instance metadata service hands out credentials"


def test_site_turns_them_on_as_check_mode_predicts_and_a_second_run_changes_nothing(watched: Fleet) -> None:
    assert watched.run("site", "--check").changed > 0
    assert [files(watched, node) for node in NODES] == [[], []], "check mode changes nothing"
    assert watched.run("site").changed > 0
    for node in NODES:
        for unit in UNITS:
            assert (shown(watched, node, unit, "ActiveState"), shown(watched, node, unit, "UnitFileState")) == (
                "active",
                "enabled",
            )
    assert watched.run("site").changed == 0


@pytest.fixture
def running(watched: Fleet) -> Fleet:
    """All units run. They do after the test above; site starts them where a test below is played alone."""
    if not all(files(watched, node) for node in NODES):
        watched.run("site")
    for node in NODES:
        for unit in UNITS:
            watched.wait(f"{unit} runs", lambda n=node, u=unit: shown(watched, n, u, "ActiveState") == "active")  # type: ignore[misc]
    return watched


def test_all_run_without_rights(running: Fleet) -> None:
    for unit in UNITS:
        status = process(running, "nat-a", unit)
        assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        readers = running.node("nat-a", "getent", "group", "nat-failover-read").split(":")[2]
        service = running.node("nat-a", "id", "--user", "nat-failover").strip()
        assert readers in status["Groups"].split() and status["Uid"].split()[0] not in ("0", service)


def test_the_processes_read_the_status_and_nothing_else(running: Fleet) -> None:
    outside = json.loads(running.lab.exec("nat-a", [PROGRAM], input="").stdout)
    assert outside["key"] == outside["control"] == outside["imds"] == outside["etc"] == "done", "the probe can fail"
    running.node("nat-a", "rm", "/etc/nat-failover-probe")
    for unit in (WEB, CLOUDWATCH):
        assert_shut_in(json.loads(running.node("nat-a", "sh", "-c", INSIDE, "sh", unit, PROGRAM)))


def written(fleet: Fleet, node: str) -> dict[str, Any]:
    """The last whole line for CloudWatch. Empty: there is none yet."""
    lines = fleet.node(node, "sh", "-c", f"cat {METRICS} 2>/dev/null || true").split("\n")[:-1]
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return found


def test_metrics_for_cloudwatch_are_in_the_file_that_an_agent_reads(running: Fleet) -> None:
    for node in NODES:
        running.wait("a line of a node that is well", lambda node=node: written(running, node).get("Forwarding") == 1)  # type: ignore[misc]
        root = written(running, node)
        assert root["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "NatFailover"
        assert (root["Cluster"], root["Node"], root["ServiceUp"]) == ("lab", node, 1)
        assert isinstance(root["ActiveConnectionCount"], int), "the count of the kernel is readable in the sandbox"
        assert running.node(node, "stat", "--format=%a", METRICS).strip() == "644", "an agent is another user"


def test_a_reader_that_is_allowed_gets_the_page_and_no_other_does(running: Fleet) -> None:
    code, page = get(running, "nat-b", "/")
    assert code == "200" and "<!doctype html>" in page and "nat-a" in page
    code, body = get(running, "nat-b", "/status.json")
    assert code == "200" and json.loads(body)["node"] == "nat-a"
    code, body = get(running, "nat-b", "/metrics")
    assert code == "200" and 'nat_failover_up{cluster="lab",node="nat-a"} 1\n' in body
    for path in ("/healthz", "/readyz", "/nat", "/cluster"):
        assert get(running, "nat-a", path, "127.0.0.1")[0] == "200", path
    assert get(running, "client-a", "/")[0] in ("000", "403")


def test_the_page_answers_while_the_service_is_stopped(running: Fleet) -> None:
    running.node("nat-b", "systemctl", "stop", "nat-failover.service")
    try:
        running.wait("the page says so", lambda: "does not answer" in get(running, "nat-a", "/", "10.0.1.10")[1])
        assert get(running, "nat-a", "/healthz", "10.0.1.10")[0] == "503"
        assert shown(running, "nat-b", WEB, "NRestarts") == "0"
    finally:
        running.node("nat-b", "systemctl", "start", "nat-failover.service")
    running.wait("the page has a status", lambda: get(running, "nat-a", "/healthz", "10.0.1.10")[0] == "200")
    running.settle()


def test_a_hook_gets_the_events_that_it_asked_for_in_its_sandbox(running: Fleet) -> None:
    running.node("nat-a", "nat-failover", "drain", "--wait", "20", "--reason", "a test of hooks")
    running.wait("the hook has run", lambda: len(reports(running, "nat-a")) == 1)
    running.node("nat-a", "nat-failover", "resume")
    running.wait("the hook has run again", lambda: len(reports(running, "nat-a")) == 2)
    first, second = reports(running, "nat-a")
    events = [each["event"] for each in (first, second)]
    assert [event["kind"] for event in events] == ["drained", "resumed"]
    for event in events:
        assert [event[name] for name in ("schema", "hook", "cluster", "node")] == [1, "probe", "lab", "nat-a"]
    for report in (first, second):
        assert report["argv"] == ["--said"]
        assert_shut_in(report)
    assert reports(running, "nat-b") == [], "each node runs its own hooks on its own events"
    running.settle()


def test_site_removes_what_nobody_wants_any_more(running: Fleet) -> None:
    running.write_inventory(nat_instance_heartbeat_key=key(running))
    assert all(len(files(running, node)) == 2 * len(UNITS) for node in NODES)
    assert running.run("site").changed > 0
    for node in NODES:
        assert files(running, node) == []
        assert {shown(running, node, unit, "LoadState") for unit in UNITS} == {"not-found"}
    assert get(running, "nat-b", "/")[0] == "000"
    running.settle()
