# SPDX-License-Identifier: GPL-3.0-or-later
"""Children of ./dev and of the lab keep their bytecode, beside no source."""

from __future__ import annotations

import subprocess
import sys

from devtool import environment, paths
from lab import pythons


def test_a_file_is_compiled_once_and_its_bytecode_lies_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(paths, "BYTECODE", tmp_path / "bytecode")
    (tmp_path / "part.py").write_text("")
    subprocess.run([sys.executable, "-c", "import part"], cwd=tmp_path, env=environment.base(), check=True)
    [kept] = (tmp_path / "bytecode").rglob("part.*.pyc")
    assert kept.parent == tmp_path / "bytecode" / str(tmp_path).lstrip("/")
    assert not (tmp_path / "__pycache__").exists()


def test_the_lab_writes_bytecode_only_where_it_lies_apart(monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    assert pythons.environment(A="1").items() >= {"PYTHONDONTWRITEBYTECODE": "1", "A": "1"}.items()
    monkeypatch.setattr(sys, "pycache_prefix", "/cache")
    assert "PYTHONDONTWRITEBYTECODE" not in pythons.environment()
