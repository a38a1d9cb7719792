# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove what carries a lab's name, whether the lab still runs, has ended or has crashed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from . import netns
from .names import ETC, RUN, Names

NSPAWN = Path("/run/systemd/nspawn")
CGROUP = Path("/sys/fs/cgroup")
TESTS = "t"  # the names of unnamed test labs: t and the process id


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same id."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """A process that lives now."""
        return cls(pid, _started(pid))

    @property
    def alive(self) -> bool:
        """Whether it is still the same process, and no zombie."""
        return self.started != 0 and _started(self.pid) == self.started and netns.state(self.pid) != "Z"

    def end(self, grace_s: float = 0.0) -> None:
        """Terminate, then kill. Returns when it is gone."""
        if grace_s and self.alive:
            netns.send([self.pid], signal.SIGTERM)
            self.wait(grace_s)
        while self.alive:
            netns.send([self.pid], signal.SIGKILL)
            self.wait(1)

    def wait(self, limit_s: float) -> bool:
        """Whether it ended in time."""
        end = time.monotonic() + limit_s
        while self.alive and time.monotonic() < end:
            time.sleep(0.02)
        return not self.alive


def record(names: Names, role: str, pid: int) -> None:
    """Write down a process that lives outside the lab's namespaces (``owner``, or a machine's supervisor)."""
    names.run.mkdir(parents=True, exist_ok=True)
    path = names.run / f"{role}.process"
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(Process.of(pid).__dict__), encoding="ascii")
    draft.rename(path)


def recorded(names: Names) -> dict[str, Process]:
    """The recorded processes, by role."""
    found = {}
    for path in sorted(names.run.glob("*.process")):
        try:
            found[path.stem] = Process(**json.loads(path.read_text(encoding="ascii")))
        except (OSError, ValueError, TypeError):
            continue
    return found


def owner(names: Names) -> Process | None:
    """The living process whose lab this is."""
    process = recorded(names).get("owner")
    return process if process is not None and process.alive else None


def remove(names: Names) -> None:
    """Processes, namespaces, mounts and files of a lab. The calling process is spared, whatever its role."""
    for role, process in recorded(names).items():
        if process.pid != os.getpid():
            process.end(grace_s=10.0 if role == "owner" else 0.0)
    for namespace in names.namespaces():
        netns.end_processes(namespace)
        netns.delete(namespace)
    for left in ETC.glob(names.namespace("*")):
        shutil.rmtree(left, ignore_errors=True)
    remove_cgroups(names.namespace("*"))
    for left in NSPAWN.glob("*/" + names.namespace("*")):  # what a killed systemd-nspawn leaves
        shutil.rmtree(left, ignore_errors=True)
    for folder in (names.run, names.state):
        unmount_below(folder)
        if not mounts_below(folder):  # never delete through a mount
            shutil.rmtree(folder, ignore_errors=True)


def unmount_below(folder: Path) -> None:
    """Unmount what is mounted in a folder, the deepest first."""
    for target in mounts_below(folder):
        root = Path(target).stat()
        netns.run(["umount", "--lazy", target])
        # systemd-nspawn leaves the lock of its root folder behind when its system is killed.
        (NSPAWN / f"locks/inode-{root.st_dev}:{root.st_ino}").unlink(missing_ok=True)


def mounts_below(folder: Path) -> list[str]:
    """The mounts in a folder, the deepest first."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    # The kernel writes a space in a path as \040; no path of the lab has one.
    targets = [line.split()[1] for line in lines]
    return sorted((target for target in targets if target.startswith(f"{folder}/")), key=len, reverse=True)


def cgroup_roots() -> list[Path]:
    """The hierarchies that systemd uses: version 2, or the hybrid of both."""
    return [root for root in (CGROUP, CGROUP / "systemd", CGROUP / "unified") if (root / "cgroup.procs").exists()]


def remove_cgroups(pattern: str) -> None:
    """Remove control groups, which are empty by now; as folders, the deepest first."""
    for root in cgroup_roots():
        for group in root.glob(pattern):
            below = [path for path in group.rglob("*") if path.is_dir()]
            for folder in [*sorted(below, key=lambda path: len(path.parts), reverse=True), group]:
                try:
                    folder.rmdir()
                except OSError:
                    continue


def sweep_tests() -> None:
    """Remove test labs whose process is gone."""
    for path in RUN.iterdir() if RUN.is_dir() else ():
        match = re.fullmatch(TESTS + "([0-9]+)", path.name)
        if match and owner(Names(path.name)) is None and _started(int(match[1])) == 0:
            remove(Names(path.name))


def _started(pid: int) -> int:
    """The start time in clock ticks since boot; 0 without such a process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])
