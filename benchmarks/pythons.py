# SPDX-License-Identifier: GPL-3.0-or-later
"""Interpreters to run the service with: this environment's, and small environments that hold what a NAT node has (boto3)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
if str(ROOT / "tools") not in sys.path:
    sys.path.append(str(ROOT / "tools"))

from devtool import interpreters, venv  # noqa: E402
from devtool.pytests import NODE_REQUIREMENTS  # noqa: E402

VERSIONS = ("3.9", "3.11", "3.13")


def find(version: str) -> str:
    """The interpreter's path; raises ``LookupError`` where this machine has none."""
    if version == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    interpreter = interpreters.find(version)
    if interpreter is None:
        raise LookupError(f"no Python {version} on this machine")
    return str(venv.ensure_small(f"py{version}", interpreter, NODE_REQUIREMENTS))


def boto3_version(python: str) -> str:
    """The client library of such a service."""
    code = "import boto3; print(boto3.__version__)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
