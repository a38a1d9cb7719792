# SPDX-License-Identifier: GPL-3.0-or-later
"""A NAT node as a whole machine: systemd-nspawn with a real systemd and sshd over a disk that outlives power cycles."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import image as images
from ..errors import LabError
from ..fabric import cleanup, netns, packages
from ..fabric.names import RESOLVER
from .host import ON, Host

BOOT_LIMIT_S = 60.0
SHUT_DOWN = signal.SIGRTMIN + 3  # systemd: halt.target or poweroff.target
REBOOT_EXIT = 133  # what nspawn ends with when its system asks for a reboot and the unit is not its own
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine(Host):
    """A host with a system of its own. ``image`` is never written to; ``key`` is the lab's public ssh key."""

    weight = "machine"

    def __init__(
        self,
        *arguments: Any,
        image: Path,
        key: str,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **{"stop_grace_s": 10.0, **options})
        self.image = image
        self.key = key
        names = self.network.names
        self.disk = names.state / self.name
        self.root = names.run / self.name / "root"
        self._console = names.run / f"{self.name}.console"
        self._nspawn: subprocess.Popen[bytes] | None = None

    @property
    def leader(self) -> int:
        """The process id of the machine's init."""
        for pid in netns.processes(self.namespace):
            if self._nspawn is not None and _parent(pid) == self._nspawn.pid:
                return pid
        raise LabError(f"{self.title} has no system running; see {self._console}")

    def host_key(self) -> str:
        """The public half of the machine's host key."""
        return (self.disk / "upper" / HOST_KEY).with_suffix(".pub").read_text(encoding="ascii").strip()

    def wait_ready(self, limit_s: float = BOOT_LIMIT_S) -> None:
        """Wait until sshd greets."""
        end = time.monotonic() + limit_s
        while not netns.inside(self.namespace, lambda: _greets(self.address)):
            if self._nspawn is None or self._nspawn.poll() is not None or time.monotonic() > end:
                raise LabError(f"{self.title} does not come up; its console is in {self._console}")
            time.sleep(0.1)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Enter all of the machine's namespaces."""
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid"]
        clean = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", f"TERM={os.environ.get('TERM', 'dumb')}"]
        return ["nsenter", "--target", str(self.leader), *spaces, "--root", "--wd", *clean, *argv]

    def _start_system(self) -> None:
        self._mount()
        self._personalize()
        names = self.network.names
        groups = [str(root / self.namespace) for root in cleanup.cgroup_roots()]
        # Each machine in a control group of its own: two systemds in one would end each other's services.
        script = 'for each in $1; do mkdir -p "$each" && echo $$ > "$each/cgroup.procs"; done; shift; exec "$@"'
        nspawn = [
            "systemd-nspawn",
            *("--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe", "--settings=no"),
            *("--link-journal=no", "--resolv-conf=off", "--timezone=off", "--capability=CAP_NET_ADMIN"),
            f"--network-namespace-path=/run/netns/{self.namespace}",
            f"--directory={self.root}",
            f"--machine={self.namespace}",
            f"--hostname={self.name}",
        ]
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", script, "sh", " ".join(groups), *nspawn],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
                start_new_session=True,
            )
        cleanup.record(names, self.name, self._nspawn.pid)
        threading.Thread(target=self._watch, args=(self._nspawn,), name=f"watch-{self.name}", daemon=True).start()

    def _stop_system(self, hard: bool) -> None:
        nspawn = self._nspawn
        if nspawn is not None:
            if not hard and nspawn.poll() is None:
                self._shut_down(nspawn)
            netns.end_processes(self.namespace)
            try:
                nspawn.wait(timeout=3)  # it tidies up after its system
            except subprocess.TimeoutExpired:
                nspawn.kill()
                nspawn.wait()
            self._nspawn = None
        netns.end_processes(self.namespace)
        cleanup.unmount_below(self.root.parent)
        cleanup.remove_cgroups(self.namespace)

    def _kill_system(self) -> None:
        netns.end_processes(self.namespace)

    def _shut_down(self, nspawn: subprocess.Popen[bytes]) -> None:
        try:
            netns.send([self.leader], SHUT_DOWN)
            nspawn.wait(timeout=self.stop_grace_s)
        except (LabError, subprocess.TimeoutExpired):
            pass  # it hangs, or was hardly up: the power goes off all the same

    def _watch(self, nspawn: subprocess.Popen[bytes]) -> None:
        """The machine may reboot or switch itself off."""
        code = nspawn.wait()
        with self._lock:
            if self._nspawn is not nspawn or self.state != ON:
                return  # switched off or killed from outside
        if code == REBOOT_EXIT:
            self.reboot()
        elif self.on_self_off is not None:
            self.on_self_off(self)

    def _mount(self) -> None:
        upper, work = self.disk / "upper", self.disk / "work"
        for folder in (upper, work, self.root):
            folder.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={self.image},upperdir={upper},workdir={work}"
        netns.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)])

    def _personalize(self) -> None:
        """At the first boot: name, identity, keys."""
        root = self.root
        if (root / "root/.ssh/authorized_keys").exists():
            return
        (root / "etc/hostname").write_text(self.name + "\n", encoding="ascii")
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{self.address} {self.name}\n", encoding="ascii")
        (root / "etc/resolv.conf").write_text(f"nameserver {RESOLVER}\n", encoding="ascii")
        packages.sources(root, images.SUITE)
        (root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n", encoding="ascii")
        make_key(root / HOST_KEY, self.name)
        folder = root / "root/.ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "authorized_keys").write_text(self.key, encoding="ascii")
        (folder / "authorized_keys").chmod(0o600)


def make_key(path: Path, comment: str) -> str:
    """An ssh key pair, made once; the public half."""
    if not shutil.which("ssh-keygen"):
        raise LabError("ssh-keygen is not installed: apt-get install openssh-client")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        netns.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return Path(f"{path}.pub").read_text(encoding="ascii")


def _greets(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), 0.5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])
