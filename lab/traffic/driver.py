# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic of a client of a lab: starts the far end and the client, and tells what was seen."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import pythons
from ..fabric.names import INTERNET, Names
from ..fabric.network import INTERNET_NS
from .words import ALL, FLOWS

ROOT = Path(__file__).resolve().parents[2]
TCP = ("echo", "push", "down", "pull", "up")
KINDS = (*TCP, "udp", "icmp")
SENDERS = ("echo", "down", "pull", "up")  # TCP flows whose client sends within ten seconds, if only a keepalive
Spawn = Callable[..., Any]


@dataclass(frozen=True)
class Flow:
    """A flow so far. Times are monotonic seconds."""

    count: int  # of messages, or of pieces of a stream, that came
    error: str
    gaps: list[tuple[float, float]]  # (begin, seconds) without any
    peer: str = ""  # the address and port that the server sees
    sent: int = 0
    octets: int = 0  # of a stream, all compared
    addresses: list[tuple[float, str]] = field(default_factory=list)  # (since, as the server sees it)

    def stall_ms(self, since: float = 0.0) -> float:
        """The longest time without progress that reaches beyond a moment."""
        return max((length for begin, length in self.gaps if begin + length > since), default=0.0) * 1000

    def alive(self, within_s: float = 1.0) -> bool:
        """Whether something came lately."""
        return not self.error and self.gaps[-1][1] < within_s


@dataclass(frozen=True)
class Opened:
    """An attempt to open a connection. ``ended``: None without an answer."""

    begun: float
    ended: float | None
    text: str  # the address and port that the server saw, or the error

    @property
    def address(self) -> str:
        """The address that the server saw; "" without an answer."""
        return self.text.partition(":")[0] if self.ended is not None else ""


def changes(attempts: Iterable[Opened]) -> list[Opened]:
    """Those of the answered attempts at which the server saw another address than before, the first one among them."""
    answered = (each for each in attempts if each.address)
    return [next(group) for _address, group in itertools.groupby(answered, lambda each: each.address)]


@dataclass(frozen=True)
class Seen:
    """All that was seen so far."""

    flows: dict[str, Flow]
    opened: list[Opened]

    @property
    def opened_last(self) -> str:
        """The address that the server saw last, of a new connection."""
        return next(iter(self.opened_under(1)), "")

    def opened_under(self, count: int) -> list[str]:
        """The addresses that the server saw, of so many last new connections."""
        return [each.address for each in self.opened if each.address][-count:]

    def outage_ms(self, since: float = 0.0) -> float:
        """The longest time without a new connection that reaches beyond a moment."""
        times = sorted(each.ended for each in self.opened if each.ended is not None)
        times += [max([*times, *(each.begun for each in self.opened)], default=0.0)]
        return max((two - one for one, two in itertools.pairwise(times) if two > since), default=0.0) * 1000


def _flows(found: dict[str, Any]) -> dict[str, Flow]:
    return {
        name: Flow(**{**each, "gaps": [tuple(gap) for gap in each["gaps"]]}) for name, each in found["flows"].items()
    }


class Traffic:
    """Running traffic. ``spawn`` starts a command on the client's host (``Host.popen``). Use it as a context manager.

    ``every_s``: seconds between two new connections, 0 for none. ``held``: the number of idle ones. ``serve``: without it, the far end is
    that of other traffic.
    """

    def __init__(
        self,
        spawn: Spawn,
        names: Names,
        *,
        kinds: Sequence[str] = KINDS,
        every_s: float = 0.0,
        held: int = 0,
        serve: bool = True,
    ) -> None:
        self._processes: list[Any] = []
        internet = ["ip", "netns", "exec", names.namespace(INTERNET_NS)]
        try:
            if serve:
                self._start(lambda argv, **more: subprocess.Popen([*internet, *argv], **more), "server", INTERNET)
                self._wait_ready(self._processes[0])
            self._held = self._start(spawn, "held", INTERNET, str(held)) if held else None
            if self._held is not None:
                self._wait_ready(self._held)
            self._client = self._start(spawn, "client", INTERNET, str(every_s), *kinds)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.stop()

    def seen(self) -> Seen:
        """All that was seen so far."""
        found = self._ask(self._client, ALL)
        return Seen(_flows(found), [Opened(*each) for each in found["fresh"]])

    def flows(self) -> dict[str, Flow]:
        """The flows alone: a question that hardly disturbs them."""
        return _flows(self._ask(self._client, FLOWS))

    def ask_held(self, rate: float) -> dict[str, float]:
        """Let each held connection send once, so many a second: how many there are, are alive, were reset, the longest echo."""
        found: dict[str, float] = self._ask(self._held, str(rate))
        return found

    def stop(self) -> None:
        """End all of it."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                pipe.close()
        self._processes.clear()

    def _start(self, spawn: Spawn, module: str, *arguments: str) -> Any:
        process = spawn(
            [sys.executable, "-m", f"lab.traffic.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=pythons.environment(),
        )
        self._processes.append(process)
        return process

    @staticmethod
    def _wait_ready(process: Any) -> None:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("traffic of the lab did not start; its error is above")

    @staticmethod
    def _ask(process: Any, line: str) -> Any:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError("a process of the lab's traffic ended; its error is above")
        return json.loads(answer)
