# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab``: up, down, and nothing left behind, whatever happened in between. Bare hosts; machines have a test of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.fabric import cleanup
from lab.fabric.names import Names

ROOT = Path(__file__).resolve().parents[3]
NAME = f"c{os.getpid()}"
BARE = ("--weight", "bare")


def cli(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a subcommand on this test's lab."""
    command, *rest = words
    argv = [sys.executable, "-m", "lab", command, "--name", NAME, *rest]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **options)


def remains() -> dict[str, list[str]]:
    """All that carries the lab's name on this machine."""
    names = Names(NAME)
    mine = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"lab.daemon" in words and any(f'"name": "{NAME}"'.encode() in word for word in words):
            mine.append(path.parent.name)
    return {
        "namespaces": names.namespaces(),
        "mounts": [*cleanup.mounts_below(names.run), *cleanup.mounts_below(names.state)],
        "processes": mine,
        "folders": [str(path) for path in (names.run, names.state) if path.exists()],
        "groups": [str(path) for root in cleanup.cgroup_roots() for path in root.glob(names.namespace("*"))],
    }


def nothing() -> dict[str, list[str]]:
    return {"namespaces": [], "mounts": [], "processes": [], "folders": [], "groups": []}


def owner() -> int:
    process = cleanup.owner(Names(NAME))
    assert process is not None
    return process.pid


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    yield
    cleanup.remove(Names(NAME))


def test_up_status_exec_fault_heal_down() -> None:
    up = cli("up", *BARE)
    assert (up.returncode, "is up (bare)" in up.stdout) == (0, True), up.stderr
    first = owner()
    assert cli("up", *BARE).returncode == 0
    assert owner() == first, "up is idempotent"
    other = cli("up", "--weight", "machine")
    assert (other.returncode, len(other.stderr.splitlines())) == (2, 1)
    assert cli("exec", "client-a", "cat", "/sys/class/net/ens5/address").stdout.startswith("02:01:")
    assert cli("exec", "nat-a", "sh", "-c", "exit 7").returncode == 7
    assert cli("fault", "cut", "nat-a", "peer=nat-b", "direction=in").returncode == 0
    assert cli("fault", "notice", "nat-a", "what=scheduled", "in_s=60").returncode == 0
    wrong = (("cut", "nat-a", "peer=moon"), ("kill", "nat-a", "percent=3"), ("notice", "nat-a", "what=flood"))
    nonsense = [cli("fault", *words) for words in wrong]
    assert [(done.returncode, len(done.stderr.splitlines())) for done in nonsense] == [(2, 1)] * 3
    assert cli("fault", "api", "action=ReplaceRoute", "error=RequestLimitExceeded").returncode == 0
    data = json.loads(cli("status", "--json").stdout)
    assert (data["link_faults"][0]["peer"], len(data["api_faults"])) == ("nat-b", 1)
    assert cli("heal").returncode == 0
    data = json.loads(cli("status", "--json").stdout)
    assert (data["link_faults"], data["api_faults"]) == ([], {})
    assert cli("down").returncode == 0
    assert remains() == nothing()
    assert cli("down").returncode == 0, "down is idempotent"


def test_up_after_a_crash_starts_anew() -> None:
    assert cli("up", *BARE).returncode == 0
    first = owner()
    os.kill(first, signal.SIGKILL)
    assert cleanup.Process.of(first).wait(5)
    status = cli("status")
    assert (status.returncode, "not up" in status.stderr) == (1, True)
    again = cli("up", *BARE)
    assert (again.returncode, "earlier lab" in again.stderr) == (0, True), again.stderr
    assert owner() != first
    assert cli("down").returncode == 0
    assert remains() == nothing()


def test_down_after_a_crash_removes_everything() -> None:
    assert cli("up", *BARE).returncode == 0
    os.kill(owner(), signal.SIGKILL)
    assert cli("down").returncode == 0
    assert remains() == nothing()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.3, 1.0, 1.4])
def test_an_interrupted_up_leaves_nothing(number: signal.Signals, after_s: float) -> None:
    argv = [sys.executable, "-m", "lab", "up", "--name", NAME, *BARE]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(after_s)
    if process.poll() is None:
        process.send_signal(number)
    _output, errors = process.communicate(timeout=30)
    # On a slow machine the signal finds Python still starting, which then dies of it.
    assert process.returncode in (0, 130, -number), errors
    assert process.returncode < 0 or "Traceback" not in errors
    if process.returncode == 130:
        assert remains() == nothing()


def test_two_labs_do_not_know_each_other() -> None:
    other = NAME + "b"
    try:
        assert cli("up", *BARE).returncode == 0
        argv = [sys.executable, "-m", "lab", "up", "--name", other, *BARE, "--zones", "a"]
        assert subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode == 0
        assert cli("down").returncode == 0
        assert cleanup.owner(Names(other)) is not None
        assert len(Names(other).namespaces()) == 6  # router, igw, internet, nat-a, client-a, ops
    finally:
        cleanup.remove(Names(other))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("up", "--zones", "a,z"), 2),
        (("up", "--weight", "heavy"), 2),
        (("inventory",), 1),
        (("fault", "explode"), 2),
        (("exec", "nat-a", "true"), 1),
    ],
)
def test_refusals_are_one_line(words: tuple[str, ...], code: int) -> None:
    done = cli(*words)
    assert done.returncode == code
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert len([line for line in done.stderr.splitlines() if not line.startswith(("usage", " "))]) == 1


def test_a_name_that_cannot_be_is_refused() -> None:
    argv = [sys.executable, "-m", "lab", "status", "--name", "a-b"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_without_root_it_says_so() -> None:
    argv = [sys.executable, "-m", "lab", "status"]
    code = f"import os,sys; sys.path.insert(0, {str(ROOT)!r}); from lab import cli; os.geteuid = lambda: 1000; sys.exit(cli.main(['status']))"
    done = subprocess.run([*argv[:1], "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "sudo" in done.stderr, len(done.stderr.splitlines())) == (2, True, 1)


def test_the_inventory_is_for_machines() -> None:
    assert cli("up", *BARE).returncode == 0
    done = cli("inventory")
    assert (done.returncode, yaml.safe_load(done.stdout or "{}")) == (2, {})
