# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``nat-failover support``: one file with all that a colleague needs, and without any key."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tarfile
import time
import typing as t

from .. import __version__
from ..config import load as configuration
from ..errors import NatFailoverError
from ..model.screen import clock
from ..model.settings import Config
from ..service import history
from . import doctor
from .ask import ask_by

Runner = t.Callable[..., tuple[int, str, str]]  # (argv, *, timeout, stdin) -> (exit code, stdout, stderr)
JOURNAL = ("journalctl", "--unit=nat-failover", "--unit=nat-failover-canary", "--lines=3000", "--no-pager", "--utc")
UNITS = ("systemctl", "status", "nat-failover*", "--no-pager", "--lines=0")


def write(arguments: argparse.Namespace, runner: Runner) -> int:
    """List the members, then write the file. Returns 0. Raises ``NatFailoverError``."""
    config = configuration.load(arguments.config)
    found = members(config, arguments.config, runner)
    now = time.time()
    name = f"nat-failover-{config.self_name}-{clock(now, '%Y%m%d-%H%M%S')}"
    path = arguments.output or name + ".tar.gz"
    for member, content in found.items():
        sys.stdout.write(f"{member}  {len(content)} bytes\n")
    try:
        # Not over a file that is there, and for its owner only.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise NatFailoverError(f"{path}: {error.strerror or error}; name a new file with --output") from None
    with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for member, content in found.items():
            about = tarfile.TarInfo(f"{name}/{member}")
            about.size, about.mtime, about.mode = len(content), int(now), 0o600
            tar.addfile(about, io.BytesIO(content))
    sys.stdout.write(f"written: {path} (no key and no credential is in it; ids and addresses of instances are)\n")
    return 0


def members(config: Config, path: str, runner: Runner) -> dict[str, bytes]:
    """Name -> content. A part that cannot be had is its error in words."""
    findings = [each._asdict() for each in doctor.examine(path, runner, offline=True)]
    return {
        "version.txt": f"{__version__}, Python {sys.version}\n".encode(),
        "config.json": _file(path),  # the keys are in a file of their own
        "status.json": _answer(config, "status"),
        "explain.json": _answer(config, "explain"),
        "doctor.json": json.dumps(findings, indent=2).encode(),
        "history.jsonl": _history(config),
        "journal.txt": _output(JOURNAL, runner),
        "units.txt": _output(UNITS, runner),
    }


def _answer(config: Config, question: str) -> bytes:
    try:
        return json.dumps(ask_by(config, {"do": question}), indent=2).encode()
    except NatFailoverError as error:
        return json.dumps({"error": str(error)}).encode()


def _file(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        return str(error).encode()


def _history(config: Config) -> bytes:
    try:
        past = history.read(config.state_directory)
    except OSError as error:
        return json.dumps({"error": str(error)}).encode()
    return "".join(json.dumps(event) + "\n" for event in past.events).encode()


def _output(command: t.Sequence[str], runner: Runner) -> bytes:
    code, text, errors = runner(list(command), timeout=20)
    return (text or f"{command[0]}: exit code {code}: {errors}").encode("utf-8", "replace")
