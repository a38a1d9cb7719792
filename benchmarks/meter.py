# SPDX-License-Identifier: GPL-3.0-or-later
"""The cost of a process: CPU, memory and wake-ups, from the kernel's own books."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Between two looks at a process. Shares are of one core."""

    seconds: float
    cpu_percent: float  # its own
    children_percent: float  # of what it spawned (iptables)
    wakeups_per_s: float  # voluntary context switches of all its threads: each is a sleep that ended
    preempted_per_s: float  # involuntary ones: somebody else wanted the core
    resident_mb: float
    peak_mb: float
    private_mb: float  # not shared with any other process
    threads: int

    def row(self) -> dict[str, Any]:
        """For the store."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


class Meter:
    """Starts to count when made."""

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self._folder = proc / str(pid)
        self._began = time.monotonic()
        self._before = self._counters()

    def read(self) -> Cost:
        """The cost since the start."""
        seconds = time.monotonic() - self._began
        cpu, children, voluntary, involuntary = (
            now - before for now, before in zip(self._counters(), self._before, strict=True)
        )
        status = _fields(self._folder / "status")
        memory = _fields(self._folder / "smaps_rollup")
        return Cost(
            seconds=seconds,
            cpu_percent=100 * cpu / seconds,
            children_percent=100 * children / TICKS / seconds,
            wakeups_per_s=voluntary / seconds,
            preempted_per_s=involuntary / seconds,
            resident_mb=_kilobytes(status["VmRSS"]) / 1024,
            peak_mb=_kilobytes(status["VmHWM"]) / 1024,
            private_mb=(_kilobytes(memory["Private_Clean"]) + _kilobytes(memory["Private_Dirty"])) / 1024,
            threads=int(status["Threads"]),
        )

    def _counters(self) -> tuple[float, float, float, float]:
        """CPU seconds (to the nanosecond) of its living threads, clock ticks of its children, wake-ups, preemptions."""
        # After the name, which may hold anything: field 3 comes first; 16 and 17 are the children's times (proc(5)).
        stat = (self._folder / "stat").read_text().rpartition(")")[2].split()
        cpu = voluntary = involuntary = 0.0
        for thread in (self._folder / "task").iterdir():
            try:
                cpu += int((thread / "schedstat").read_text().split()[0]) / 1e9
                fields = _fields(thread / "status")
            except OSError:
                continue  # it has just ended
            voluntary += int(fields["voluntary_ctxt_switches"])
            involuntary += int(fields["nonvoluntary_ctxt_switches"])
        return cpu, float(int(stat[13]) + int(stat[14])), voluntary, involuntary


def _fields(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return {name: rest.strip() for name, _colon, rest in (line.partition(":") for line in lines)}


def _kilobytes(text: str) -> int:
    return int(text.split()[0])
