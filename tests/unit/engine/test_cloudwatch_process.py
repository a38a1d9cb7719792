# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that writes metrics for CloudWatch: its settings, its file, its socket, its end."""

from __future__ import annotations

import asyncio
import os
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
from nat_failover.service.status_socket import StatusSocket
from nat_failover.web import cloudwatch, emf

from .cloudwatch_line import ROOT, assert_in_the_format
from .standing import standing

COMMAND = "cloudwatch --cluster prod --node nat-a".split()


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
