# SPDX-License-Identifier: GPL-3.0-or-later
"""nat_failover_host_info: what is there, what a running service does not know yet, and how the kernel is set."""

from __future__ import annotations

import os
import sys

import boto3
import pytest


@pytest.fixture
def asked(tmp_path):
    """A host on which everything is installed, and whose service has read it all."""
    library = tmp_path / "nat_failover"
    (library / "room").mkdir(parents=True)
    for name in ("command", "config.json", "key", "nat_failover/policy.py", "nat_failover/room/part.py"):
        (tmp_path / name).write_text('{"cluster": "prod"}' if name == "config.json" else "x\n")
        os.utime(tmp_path / name, (1000, 1000))
    (tmp_path / "control.sock").touch()
    return {
        "installed": [str(tmp_path / "command"), str(tmp_path / "config.json")],
        "config": str(tmp_path / "config.json"),
        "socket": str(tmp_path / "control.sock"),
        "known": [str(library), str(tmp_path / "config.json"), str(tmp_path / "key")],
        "user": "root",
    }


def test_what_it_needs_is_said(run):
    assert "no_such_option" in run("nat_failover_host_info", no_such_option=1)["msg"]


def test_nothing_is_looked_at_that_nobody_asks_for(run):
    result = run("nat_failover_host_info")
    assert not result["pristine"] and not any(
        result[name] for name in ("unknown", "config", "user", "sysctls", "python", "packages")
    )


@pytest.mark.parametrize("check", [False, True])
def test_a_host_on_which_all_is_well(run, asked, check):
    result = run("nat_failover_host_info", check=check, **asked)
    assert not result["changed"] and not result["pristine"] and result["unknown"] == []
    assert result["config"] == '{"cluster": "prod"}'
    assert result["memory_kib"] > 10_000
    assert result["user"]["home"] == "/root" and result["user"]["group"] == "root"


def test_a_pristine_host(run, asked, tmp_path):
    for name in ("config.json", "control.sock"):
        (tmp_path / name).unlink()
    result = run("nat_failover_host_info", **{**asked, "user": "nobody-has-this-name"})
    assert result["pristine"] and result["config"] == "" and result["user"] == {} and result["unknown"] == []


@pytest.mark.parametrize("name", ["config.json", "key", "nat_failover/policy.py", "nat_failover/room/part.py"])
def test_what_is_newer_than_the_socket_is_not_known_to_the_service(run, asked, tmp_path, name):
    later = os.stat(tmp_path / "control.sock").st_mtime + 10
    os.utime(tmp_path / name, (later, later))
    (tmp_path / "nat_failover" / "policy.pyc").touch()
    os.utime(tmp_path / "nat_failover" / "policy.pyc", (later, later))
    assert run("nat_failover_host_info", **asked)["unknown"] == [str(tmp_path / name)]


def test_a_service_that_does_not_run_knows_all_when_it_starts(run, asked, tmp_path):
    (tmp_path / "control.sock").unlink()
    assert run("nat_failover_host_info", **asked)["unknown"] == []


def test_kernel_settings_that_there_are(run, asked):
    found = run("nat_failover_host_info", **asked, sysctls=["net/ipv4/ip_forward", "net/none/such"])["sysctls"]
    assert list(found) == ["net/ipv4/ip_forward"] and found["net/ipv4/ip_forward"] in ("0", "1")


def test_versions_and_packages_in_the_words_of_who_was_asked(run, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\necho 3.9\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    found = run("nat_failover_host_info", python=sys.executable, package_query=["echo", "installed one"])
    assert found["python"] == ["%d.%d" % sys.version_info[:2], boto3.__version__]
    assert found["packages"] == ["installed one"]
    assert run("nat_failover_host_info", python=str(tmp_path / "python"))["python"] == ["3.9"]
    found = run("nat_failover_host_info", python=str(tmp_path / "none"), package_query=["no-such-command"])
    assert found["python"] == [] and found["packages"] == []
