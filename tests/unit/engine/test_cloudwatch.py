# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics for CloudWatch: each line is a document of its format, says nothing that is not known, and a failure to write ends nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nat_failover.cli import main
from nat_failover.console import beside
from nat_failover.errors import ConfigError
from nat_failover.model.evidence import FAILED
from nat_failover.service.status import status
from nat_failover.service.status_socket import StatusSocket
from nat_failover.web import cloudwatch, emf
from nat_failover.web.snapshot import Snapshot

from .standing import CLAIM_B, standing
from .test_web_metrics import route, verdict

AT = 1_700_000_000.25
COMMAND = "cloudwatch --cluster prod --node nat-a".split()
ROOT = Path(__file__).resolve().parents[3]
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
MOST_METRICS, MOST_DIMENSIONS, LONGEST_NAME, MOST_NUMBERS = 100, 30, 255, 100
UNITS = {"None", "Count", "Milliseconds", "Seconds", "Bytes", "Percent"}


def seen(parts, **changes):
    return Snapshot({**json.loads(json.dumps(status(parts))), **changes}, "", AT)


def metrics(parts, connections=7, since=None, **changes):
    return (since or emf.Since()).metrics(seen(parts, **changes), connections)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def assert_in_the_format(text):
    """The rules of the specification, which CloudWatch Logs checks. Returns the document."""
    assert "\n" not in text and len(text) < 10_000
    root = json.loads(text)
    about = root["_aws"]
    assert set(about) == {"Timestamp", "CloudWatchMetrics"} and isinstance(about["Timestamp"], int)
    for directive in about["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 0 < len(directive["Namespace"]) <= LONGEST_NAME
        assert directive["Dimensions"]
        for names in directive["Dimensions"]:
            assert len(names) <= MOST_DIMENSIONS
            assert all(isinstance(root[name], str) and root[name] for name in names)
        assert len(directive["Metrics"]) <= MOST_METRICS
        for metric in directive["Metrics"]:
            assert set(metric) <= {"Name", "Unit"} and metric["Unit"] in UNITS
            target = root[metric["Name"]]
            assert is_number(target) or (0 < len(target) <= MOST_NUMBERS and all(map(is_number, target)))
    return root


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


# --- settings -------------------------------------------------------------------------------------------------------


def test_settings_that_are_left_out_have_values():
    assert emf.parse() == ("journal", 60)
    assert emf.parse("file", 10) == ("file", 10)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"emf": "cloud"}, ["x.emf", "'cloud'", "journal, file"]),
        ({"interval_s": 0}, ["x.interval_s", "0", "10 to 3600"]),
        ({"interval_s": 86400}, ["x.interval_s", "86400"]),
        ({"interval_s": True}, ["x.interval_s"]),
        ({"interval_s": 60.5}, ["x.interval_s", "60.5"]),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(given, words):
    with pytest.raises(ConfigError) as refusal:
        emf.parse(**given, prefix="x.")
    assert all(word in str(refusal.value) for word in words) and "\n" not in str(refusal.value)


# --- the process ----------------------------------------------------------------------------------------------------


def test_a_file_that_is_full_begins_anew_and_one_older_file_stays(tmp_path):
    path = tmp_path / "metrics.log"
    write = cloudwatch.to_file(str(path), largest=100)
    for number in range(20):
        write(f"{number:039d}")
    assert [int(line) for line in path.read_text().split()] == [18, 19]
    assert [int(line) for line in (tmp_path / "metrics.log.1").read_text().split()] == [16, 17]
    assert len(list(tmp_path.iterdir())) == 2


def test_connections_are_those_that_the_kernel_counts(tmp_path):
    count = tmp_path / "count"
    assert cloudwatch.connections(str(count)) is None
    count.write_text("4711\n")
    assert cloudwatch.connections(str(count)) == 4711
    count.write_text("\n")
    assert cloudwatch.connections(str(count)) is None


def test_a_line_that_cannot_be_written_is_reported_once_and_the_next_one_is_tried(tmp_path, caplog):
    written, room = [], []

    def write(line):
        if not room:
            raise OSError(28, "No space left on device")
        written.append(line)

    async def tell():
        told = cloudwatch.CloudWatch(str(tmp_path / "nobody"), "prod", "nat-a", write, lambda: None)
        for _time in range(3):
            await told.tell()
        assert [record.getMessage() for record in caplog.records] == [
            "cloudwatch: a line is lost: No space left on device"
        ]
        room.append(True)
        await told.tell()
        room.clear()
        await told.tell()
        assert len(caplog.records) == 2, "it is news again"

    asyncio.run(tell())
    assert [assert_in_the_format(line)["ServiceUp"] for line in written] == [0]


def test_the_process_reads_the_socket_writes_at_once_and_ends_at_sigterm(tmp_path):
    """The command itself, in this process, against a socket of the service."""
    path, folder = tmp_path / "metrics.log", tmp_path
    ready, over = threading.Event(), threading.Event()

    parts = standing()

    def serve():
        async def live():
            server = StatusSocket(str(folder), parts)
            await server.open()
            ready.set()
            while not over.is_set():
                await asyncio.sleep(0.01)
            server.close()

        asyncio.run(live())

    def stop_once_written():
        while not over.is_set():
            if path.exists() and path.read_text().endswith("\n"):
                os.kill(os.getpid(), signal.SIGTERM)
                return
            threading.Event().wait(0.02)

    threads = [threading.Thread(target=each, daemon=True) for each in (serve, stop_once_written)]
    before = signal.getsignal(signal.SIGTERM)
    try:
        threads[0].start()
        assert ready.wait(10)
        threads[1].start()
        words = [*COMMAND, "--interval", "3600", "--file", str(path)]
        assert main([*words, "--socket", str(folder / "status.sock")], None) == 0
    finally:
        over.set()
        threads[0].join()
        signal.signal(signal.SIGTERM, before)
    [line] = path.read_text().splitlines()
    assert assert_in_the_format(line)["ServiceUp"] == 1


def test_the_command_refuses_an_interval_that_does_not_fit(capsys):
    assert main([*COMMAND, "--interval", "1"], None) == 64
    assert "--interval_s" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["hooks"], [*COMMAND, "--interval", "1"]])
def test_a_process_beside_the_service_refuses_bad_flags_as_the_whole_command_does(words, capsys):
    codes = [run(words, None) for run in (beside.main, main)]
    told = capsys.readouterr().err.splitlines()
    assert codes == [64, 64] and len(told) == 2 and told[0] == told[1], told


def test_the_launcher_starts_it_without_the_libraries_of_tls(tmp_path):
    path = tmp_path / "metrics.log"
    words = [
        *COMMAND,
        "--file",
        str(path),
        "--socket",
        str(tmp_path / "no"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins" / "module_utils")}
    launcher = ROOT / "roles" / "nat_instance" / "files" / "main.py"
    with subprocess.Popen([sys.executable, str(launcher), *words], env=environment) as process:
        try:
            end = time.monotonic() + 60
            while not (path.exists() and path.read_text().endswith("\n")):
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.05)
            loaded = Path(f"/proc/{process.pid}/maps").read_text()
            assert "libssl" not in loaded and "_ssl." not in loaded
        finally:
            process.terminate()
        assert process.wait(10) == 0
    assert assert_in_the_format(path.read_text().splitlines()[0])["ServiceUp"] == 0
