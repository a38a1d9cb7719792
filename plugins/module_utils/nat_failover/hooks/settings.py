# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hooks of a node: which program runs on which events."""

from __future__ import annotations

import json
import os.path
import re
import typing as t
from dataclasses import dataclass

from ..errors import ConfigError

# Each kind of event that the service emits (docs/monitoring.md).
KINDS = tuple(
    """
    abandoned address addresses adopt canary claims dark dark_ended drained draining drift
    drift_ended ec2 failed failed_ended fence fenced_by fight forwarding identity incident_ended
    internet late late_ended limit mend mended metadata not_mended notice ordered paused port_taken
    problem problem_ended reload_refused reloaded replaced resumed return route service started
    stopped unpaused verdict warning warning_ended withheld withheld_ended witness
    """.split()
)
# Those of a hook that names none: changes that an operator wants to know of.
USUAL = tuple(
    """
    abandoned adopt dark dark_ended drained drift failed fence fenced_by forwarding identity
    incident_ended mend notice paused problem reload_refused resumed return unpaused verdict
    """.split()
)
KEYS = ("name", "run", "events", "timeout_s")
TIMEOUT, LONGEST = 10.0, 300.0  # seconds
MOST = 16  # hooks: each has a thread
HIDDEN = ("/home/", "/root/", "/run/user/")  # folders that the unit does not see
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class Hook:
    """One program, and the events on which it runs."""

    name: str
    run: tuple[str, ...]  # the program by its absolute path, and its arguments
    events: frozenset[str]  # their kinds
    timeout: float = TIMEOUT  # seconds

    def text(self) -> str:
        """The hook as one line of JSON that ``parse`` reads."""
        made = {"name": self.name, "run": list(self.run), "events": sorted(self.events), "timeout_s": self.timeout}
        return json.dumps(made)


def parse_all(given: t.Sequence[t.Any], prefix: str) -> tuple[Hook, ...]:
    """Checked hooks. Raises ``ConfigError``, whose key begins with ``prefix``."""
    if len(given) > MOST:
        raise ConfigError(
            prefix, len(given), f"more than {MOST} hooks", "let one program serve several kinds of events"
        )
    hooks = tuple(parse(each, f"{prefix}[{index}]") for index, each in enumerate(given))
    names = [hook.name for hook in hooks]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ConfigError(
                f"{prefix}[{index}].name", name, "two hooks have this name", "give each a name of its own"
            )
    return hooks


def parse(given: t.Any, key: str) -> Hook:
    """One checked hook. Raises ``ConfigError``."""
    if not isinstance(given, dict):
        raise ConfigError(key, given, "is no hook", "write name, run, and if need be events and timeout_s")
    for name in given:
        if name not in KEYS:
            raise ConfigError(f"{key}.{name}", None, "is not known", f"its keys are: {', '.join(KEYS)}")
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{key}.name", name, "is no name", "write up to 63 letters, digits, dots and dashes")
    return Hook(name, _program(given.get("run"), f"{key}.run"), _kinds(given, key), _timeout(given, key))


def _program(argv: t.Any, key: str) -> tuple[str, ...]:
    if not isinstance(argv, (list, tuple)) or not argv or not all(isinstance(word, str) and word for word in argv):
        raise ConfigError(
            key, argv, "is no list of words", "write the program and its arguments, e.g. [/opt/hooks/chat]"
        )
    program = argv[0]
    if not program.startswith("/") or os.path.normpath(program) != program:
        raise ConfigError(
            key, program, "is no absolute path of a program", "write e.g. /opt/hooks/chat; no shell reads it"
        )
    if program.startswith(HIDDEN):
        raise ConfigError(
            key, program, "lies in a folder that the unit does not see", "move the program, for example below /opt"
        )
    if any("\0" in word for word in argv):
        raise ConfigError(key, None, "has a word with a NUL character", "remove it")
    return tuple(argv)


def _kinds(given: t.Mapping[str, t.Any], key: str) -> frozenset[str]:
    kinds = given.get("events")
    if kinds is None:
        return frozenset(USUAL)
    if not isinstance(kinds, (list, tuple)) or not kinds:
        raise ConfigError(f"{key}.events", kinds, "is no list of events", f"write some of: {', '.join(KINDS)}")
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"{key}.events", kind, "is no kind of event", f"write some of: {', '.join(KINDS)}")
    return frozenset(kinds)


def _timeout(given: t.Mapping[str, t.Any], key: str) -> float:
    value = given.get("timeout_s", TIMEOUT)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
        raise ConfigError(
            f"{key}.timeout_s", value, "is no time limit", f"write seconds, more than 0 and at most {LONGEST:.0f}"
        )
    return float(value)
