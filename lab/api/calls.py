# SPDX-License-Identifier: GPL-3.0-or-later
"""The call log: one JSON object per line, appended in the order in which calls took effect, and its reader."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

HIDDEN = ("Action", "Version", "UserData", "SecretAccessKey", "AWSAccessKeyId")
TEXT_MAX = 500


@dataclass(frozen=True)
class Call:
    """One call. ``time`` (monotonic) and ``wall`` are when it was decided, ``received`` (monotonic) when it came in.

    ``status`` is the HTTP status the call had, also when a fault then dropped the answer; None if it was never applied.
    """

    time: float
    wall: float
    received: float
    caller: str
    access_key: str
    peer: str
    service: str
    action: str
    parameters: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    error: str | None = None
    fault: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the call took effect."""
        return self.status is not None and self.status < 300


class CallLog:
    """Appends calls to a file, each by one write. A reader may still see the beginning of one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._guard = threading.Lock()

    def append(self, call: Call) -> None:
        """Write one line."""
        line = json.dumps(asdict(call), separators=(",", ":"), default=str).encode() + b"\n"
        with self._guard:
            if not self._file.closed:
                self._file.write(line)

    def close(self) -> None:
        """Close the file; later calls are not logged."""
        with self._guard:
            self._file.close()


def relevant(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters worth logging: no protocol fields, no secrets, no long texts."""
    return {
        key: value[:TEXT_MAX] if isinstance(value, str) else value for key, value in params.items() if key not in HIDDEN
    }


def read_calls(
    path: Path, *, action: str | None = None, caller: str | None = None, since: float = 0.0, writes: bool = False
) -> list[Call]:
    """The logged calls, optionally of one action, of one caller, decided after ``since`` (monotonic), or without the reading ones."""
    names = {each.name for each in fields(Call)}
    calls = (Call(**{key: value for key, value in json.loads(line).items() if key in names}) for line in _lines(path))
    return [
        call
        for call in calls
        if (action is None or call.action == action)
        and (caller is None or call.caller == caller)
        and call.time >= since
        and not (writes and call.action.startswith(("Describe", "Get", "List")))
    ]


def _lines(path: Path) -> Iterable[str]:
    """The whole lines. One that is being written has no end yet."""
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def now() -> tuple[float, float]:
    """Monotonic and wall clock."""
    return time.monotonic(), time.time()
