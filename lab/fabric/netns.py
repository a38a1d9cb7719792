# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces: make, enter, end, and find the processes in them."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import LabError
from .names import ETC, NETNS

CLONE_NEWNET = 0x40000000
T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)


def run(argv: Sequence[str], *, text: str | None = None, timeout: float = 30) -> str:
    """A command that must succeed; its output."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{' '.join(argv)}: {error}") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def exists(name: str) -> bool:
    """Whether there is such a namespace."""
    return (NETNS / name).exists()


def create(name: str, sysctls: dict[str, str] | None = None) -> None:
    """A namespace with its loopback up and, unless ``sysctls`` say otherwise, no IPv6 (whose chatter would be noise in measurements)."""
    run(["ip", "netns", "add", name])
    ip(name, ["link set lo up"])
    sysctl(name, {"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1", **(sysctls or {})})


def delete(name: str) -> None:
    """Remove the name. The kernel frees the rest once the last process and socket are gone."""
    if exists(name):
        run(["ip", "netns", "delete", name])
    shutil.rmtree(ETC / name, ignore_errors=True)


def resolver(name: str, address: str) -> None:
    """The name server of what ``ip netns exec`` starts, see ip-netns(8)."""
    (ETC / name).mkdir(parents=True, exist_ok=True)
    (ETC / name / "resolv.conf").write_text(f"nameserver {address}\n", encoding="ascii")


def ip(name: str, lines: Iterable[str], family: int = 4) -> None:
    """Several ``ip`` commands at once. The family matters to rules only; addresses tell their own."""
    run(
        ["ip", *(["-6"] if family == 6 else []), "-n", name, "-batch", "-"], text="".join(line + "\n" for line in lines)
    )


def sysctl(name: str, values: dict[str, str]) -> None:
    """Set keys under ``/proc/sys/net`` of a namespace."""

    def write() -> None:
        for key, value in values.items():
            path = Path("/proc/sys/net", key)
            if path.exists():
                path.write_text(value, encoding="ascii")

    inside(name, write)


def inside(name: str, call: Callable[[], T]) -> T:
    """Call something in a namespace. Sockets that it makes stay there. In a thread of its own: this one does not move."""
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            enter(name)
            result.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name=f"inside-{name}", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def enter(name: str) -> None:
    """Move the calling thread, for good."""
    descriptor = os.open(NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), name)
    finally:
        os.close(descriptor)


def processes(name: str) -> list[int]:
    """The living processes in a namespace, whoever started them. Zombies do not live."""
    try:
        wanted = (NETNS / name).stat().st_ino
    except FileNotFoundError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/net").stat().st_ino == wanted and state(int(entry.name)) not in ("Z", "X"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return [pid for pid in found if pid != os.getpid()]


def state(pid: int) -> str:
    """R, S, D, T, Z ... of a process; X if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def send(pids: Iterable[int], number: int) -> None:
    """Signal processes; those that are gone already are fine."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def end_processes(name: str, *, grace_s: float = 0.0, limit_s: float = 10.0) -> None:
    """End everything in a namespace: politely for ``grace_s``, then at once. Returns when nothing is left."""
    if grace_s > 0:
        pids = processes(name)
        send(pids, signal.SIGTERM)
        send(pids, signal.SIGCONT)
        _until(lambda: not processes(name), grace_s)
    end = time.monotonic() + limit_s
    while pids := processes(name):  # again and again: a process may fork meanwhile
        send(pids, signal.SIGKILL)
        if time.monotonic() > end:
            raise LabError(f"{name}: processes {pids} do not end")
        time.sleep(0.002)


def freeze(name: str) -> None:
    """Stop every process of a namespace, also those that are born meanwhile.

    A process that waits in the kernel (D) runs none of its code once a SIGSTOP is pending. The parent of a vfork waits there for a child that
    is stopped before its exec.
    """
    told: set[int] = set()
    while running := [pid for pid in processes(name) if not _stands(pid, told)]:
        send(running, signal.SIGSTOP)
        told.update(running)
        time.sleep(0.001)


def _stands(pid: int, told: Container[int]) -> bool:
    now = state(pid)
    return now in "TtZX" or (now == "D" and pid in told)


def thaw(name: str) -> None:
    """Continue every process of a namespace."""
    send(processes(name), signal.SIGCONT)


def _until(true: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
