# SPDX-License-Identifier: GPL-3.0-or-later
"""The command nat-failover and the modules ask neither IMDS nor EC2 through a proxy, whatever the host's environment says."""

from __future__ import annotations

import importlib.util
import os
from types import SimpleNamespace

import pytest

from .conftest import ROOT

PROXIED = {
    "HTTP_PROXY": "http://10.0.0.250:3128",
    "https_proxy": "http://10.0.0.250:3128",
    "NO_PROXY": "localhost",
    "ALL_PROXY": "socks5://10.0.0.250",
    "PATH": "/usr/bin",
    "AWS_REGION": "eu-west-1",
}
KEPT = {"PATH", "AWS_REGION"}


def test_the_command_takes_proxies_out_of_its_environment():
    spec = importlib.util.spec_from_file_location("launcher", ROOT / "roles" / "nat_instance" / "files" / "main.py")
    launcher = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launcher)
    environ = dict(PROXIED)
    launcher.go_direct(environ)
    assert set(environ) == KEPT


def test_so_do_the_modules(load, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(PROXIED))
    module = SimpleNamespace(exit_json=lambda **result: result, fail_json=pytest.fail)
    seen = []
    load("module_utils._module").answer(module, lambda: seen.append(set(os.environ)) or {})
    assert seen == [KEPT]
