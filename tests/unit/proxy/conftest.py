# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that the role ``proxy`` puts on a node, imported from where they lie. Standard library only, as on the node."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles" / "proxy" / "files"
sys.path.append(str(FILES))  # one of them imports another one


def program(name):
    spec = importlib.util.spec_from_file_location(name, str(FILES / (name + ".py")))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def guard():
    return program("proxy_guard")


@pytest.fixture(scope="session")
def check():
    return program("proxy_check")


@pytest.fixture(scope="session")
def reload():
    return program("proxy_reload")


@pytest.fixture
def health(tmp_path, monkeypatch):
    module = program("proxy_health")
    for name in ("DRAINED", "RESTARTS", "REQUEST", "SETTINGS", "VERDICT"):
        monkeypatch.setattr(module, name, str(tmp_path / name.lower()))
    monkeypatch.setattr(module, "STATE", str(tmp_path))
    return module


@pytest.fixture
def quiet_program():
    return program("proxy_quiet")
