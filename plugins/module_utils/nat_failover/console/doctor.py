# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``nat-failover doctor``: checks of this moment, a line each, with a remedy for what is wrong.

A further check is one function and one line of ``CHECKS``. Nothing is changed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import typing as t
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate

from ..config import load as configuration
from ..errors import NatFailoverError
from ..host import netfilter
from ..model.problem import CRITICAL, DEGRADED, WELL
from ..model.screen import age
from ..model.settings import Config
from ..model.text import plain
from ..service import history
from .ask import Answer, ask_by

Runner = t.Callable[..., tuple[int, str, str]]  # (argv, *, timeout, stdin) -> (exit code, stdout, stderr)
CLOCK = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
WITHIN = 10.0  # seconds for everything that EC2 is asked
LEAST_FREE = 64 << 20  # bytes of disk that the history and its rotation need with room to spare
SHOWN = {WELL: "ok  ", DEGRADED: "WARN", CRITICAL: "FAIL"}


class Finding(t.NamedTuple):
    """The result of one check."""

    level: int  # WELL, DEGRADED or CRITICAL
    check: str
    text: str
    do: str = ""


class Patient(t.NamedTuple):
    """The node that is examined."""

    path: str  # of the configuration
    config: Config
    status: Answer | None  # of its service. None: it does not answer
    silence: str  # why it does not answer, in words
    runner: Runner
    offline: bool


def show(arguments: argparse.Namespace, runner: Runner) -> int:
    """Print the findings. Returns the level of the worst: 0 well, 1 degraded, 2 critical."""
    findings = examine(arguments.config, runner, arguments.offline)
    if arguments.json:
        levels = {WELL: "well", DEGRADED: "degraded", CRITICAL: "critical"}
        rows = [{**each._asdict(), "level": levels[each.level]} for each in findings]
        sys.stdout.write(json.dumps({"schema": 1, "findings": rows}, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(plain(line) for each in findings for line in lines(each)) + "\n")
    return max(each.level for each in findings)


def lines(each: Finding) -> list[str]:
    """One finding, with its remedy below."""
    return [f"{SHOWN[each.level]}  {each.check}: {each.text}"] + ([f"        do: {each.do}"] if each.do else [])


def examine(path: str, runner: Runner, offline: bool) -> list[Finding]:
    """All findings, in the order of the checks.

    Raises ``ConfigError`` without a configuration that can be read: nothing can be checked by it.
    """
    config = configuration.load(path)
    try:
        status: Answer | None = ask_by(config, {"do": "status"})
        silence = ""
    except NatFailoverError as error:
        status, silence = None, str(error)
    patient = Patient(path, config, status, silence, runner, offline)
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(patient)
        # A check that fails must not hide the findings of the others.
        except NatFailoverError as error:
            text, _semicolon, remedy = str(error).partition("; ")
            found.append(Finding(CRITICAL, _name(check), text, remedy))
    return found


def _name(check: t.Callable[..., t.Any]) -> str:
    return check.__name__.strip("_").replace("_", " ")


# --- checks ---------------------------------------------------------------------------------------


def _configuration(patient: Patient) -> list[Finding]:
    """The files are valid, and the service works by them."""
    loaded = configuration.load_all(patient.path)
    configuration.check_interface(loaded.config)
    shape = f"{len(loaded.config.nodes)} nodes, {len(loaded.config.claims)} claims"
    if patient.status is not None and patient.status["settings"]["digest"] not in ("", loaded.digest):
        do = "systemctl reload nat-failover"
        return [Finding(DEGRADED, "configuration", f"{shape}; the service works by another content of the files", do)]
    return [Finding(WELL, "configuration", shape)]


def _service(patient: Patient) -> list[Finding]:
    """The service answers. Each of its problems is a finding."""
    if patient.status is None:
        text, _semicolon, remedy = patient.silence.partition("; ")
        return [Finding(CRITICAL, "service", text, remedy)]
    levels = {"critical": CRITICAL, "degraded": DEGRADED}
    problems = [
        Finding(levels.get(each["level"], WELL), each["code"], each["text"], each["do"])
        for each in patient.status["problems"]
    ]
    return [Finding(WELL, "service", patient.status["summary"]), *problems]


def _peers(patient: Patient) -> list[Finding]:
    """Heartbeats arrive in both directions. A peer that is not well is a problem of the service."""
    rows = patient.status["verdicts"] if patient.status is not None else []
    return [
        Finding(WELL, f"peer {row['peer']}", f"heard {age(row['heartbeat_ms_ago'] / 1000)} ago, and it hears this node")
        for row in rows
        if row["hears_me"] and row["heartbeat_ms_ago"] is not None
    ]


def _rules(patient: Patient) -> list[Finding]:
    """The rules of the service are there once, and none is left over. Root only."""
    if patient.config.me.witness:
        return []
    if os.geteuid() != 0:
        return [Finding(WELL, "rules", "not checked: only root may list them")]
    found = [
        Finding(CRITICAL if text.startswith("missing") else DEGRADED, "rules", text, "nat-failover rules apply")
        for text in netfilter.differences(patient.config.nat, patient.runner)
    ]
    return found or [Finding(WELL, "rules", "all there")]


def _clock(patient: Patient) -> list[Finding]:
    """The clock is kept by NTP. AWS refuses requests of a clock that is minutes off."""
    code, text, _errors = patient.runner(list(CLOCK), timeout=3)
    if code != 0:
        return [Finding(WELL, "clock", "not checked: timedatectl gives no answer")]
    if text.strip() == "yes":
        return [Finding(WELL, "clock", "synchronized")]
    return [
        Finding(DEGRADED, "clock", "not synchronized", "timedatectl set-ntp true, and allow UDP 123 to 169.254.169.123")
    ]


def _disk(patient: Patient) -> list[Finding]:
    """The history has room."""
    directory = patient.config.state_directory
    try:
        room = os.statvfs(directory)
        past = history.read(directory)
    except OSError as error:
        do = f"make {directory} readable, or run this as root"
        return [Finding(DEGRADED, "history", f"{directory}: {error.strerror or error}", do)]
    free = room.f_bavail * room.f_frsize
    if free < LEAST_FREE:
        text = f"{free >> 20} MiB are free on the disk of {directory}"
        return [Finding(DEGRADED, "history", text, "free some space")]
    return [Finding(WELL, "history", f"{len(past.events)} events, {free >> 20} MiB free")]


def _identity(patient: Patient) -> list[Finding]:
    """IMDS names the instance that the configuration names."""
    if patient.offline:
        return []
    from ..service.preflight import check_identity  # pylint: disable=import-outside-toplevel  # only for this check

    [text] = _timely(check_identity, patient.config)
    unproven = "not proven" in text
    do = "check the path to 169.254.169.254" if unproven else ""
    return [Finding(DEGRADED if unproven else WELL, "identity", text, do)]


def _aws(patient: Patient) -> list[Finding]:
    """Instances, route tables, tags and permissions, by reads and dry runs."""
    if patient.offline:
        return []
    # pylint: disable=import-outside-toplevel  # boto3 is heavy, and only this check needs it
    from ..service.outside import connect
    from ..service.preflight import check_online

    outside = connect(patient.config, patient.runner)
    proven = _timely(check_online, patient.config, outside.ec2, outside.table)
    return [Finding(WELL, "aws", text) for text in proven]


def _timely(function: t.Callable[..., list[str]], *arguments: t.Any) -> list[str]:
    """The result of a function that asks AWS. Raises ``NatFailoverError`` when it takes too long."""
    threads = ThreadPoolExecutor(max_workers=1)
    try:
        return threads.submit(function, *arguments).result(WITHIN)
    except TooLate:
        text = f"no end within {WITHIN:.0f} s; check the path to the EC2 API, or use --offline"
        raise NatFailoverError(text) from None
    finally:
        threads.shutdown(wait=False)


CHECKS: tuple[t.Callable[[Patient], list[Finding]], ...] = (
    _configuration,
    _service,
    _peers,
    _identity,
    _aws,
    _rules,
    _clock,
    _disk,
)
