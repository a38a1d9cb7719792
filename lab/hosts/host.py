# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of all hosts: a namespace per boot, a link, the metadata service and a power switch."""

from __future__ import annotations

import logging
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..api.httpd import HttpServer
from ..api.imds import Imds, serve
from ..errors import LabError
from ..fabric import netns
from ..fabric.names import METADATA, RESOLVER
from ..fabric.network import Network

log = logging.getLogger(__name__)

ON, OFF, FROZEN, KILLED = "on", "off", "frozen", "killed"


class Host:
    """A host without a system of its own: a namespace and what is started in it. ``Machine`` adds a system.

    ``state`` is on, off, frozen or killed; EC2's view of the instance is another matter.
    """

    weight = "bare"

    def __init__(
        self,
        name: str,
        network: Network,
        *,
        imds: Imds | None = None,
        on_boot: Callable[[Any], None] | None = None,
        stop_grace_s: float = 2.0,
    ) -> None:
        self.name = name
        self.network = network
        self.port = network.ports[name]
        self.namespace = network.names.namespace(name)
        self.imds = imds
        self.on_boot = on_boot
        self.on_self_off: Callable[[Host], None] | None = None
        self.stop_grace_s = stop_grace_s
        self.state = OFF
        self.boots = 0
        self._metadata: HttpServer | None = None
        self._lock = threading.RLock()

    @property
    def address(self) -> str:
        """The private address."""
        return self.port.address

    @property
    def title(self) -> str:
        """The host and its lab, for messages: another lab has a host of the same name and address."""
        return f"{self.name} of lab {self.network.names.name}"

    def power_on(self) -> None:
        """Boot. Kernel state (routes, rules, forwarding) is new, as after any boot. Returns when the boot hook has."""
        with self._lock:
            if self.state != OFF:
                return
            netns.create(self.namespace, self.network.host_sysctls())
            self.network.attach(self.name, self.namespace)
            netns.resolver(self.namespace, RESOLVER)
            if self.imds is not None:
                listener = netns.inside(self.namespace, lambda: socket.create_server((METADATA, 80), backlog=64))
                self._metadata = serve(self.imds, listener)
            self.network.silence(self.name, False)
            self.state = ON
            self.boots += 1
            self._start_system()
            if self.on_boot is not None:
                self.wait_ready()
                self.on_boot(self)

    def wait_ready(self) -> None:
        """Wait until the host's system is up."""

    def power_off(self, *, hard: bool = False) -> None:
        """Shut down, cleanly if the host still can, and remove the namespace."""
        with self._lock:
            if self.state == OFF:
                return
            self._stop_system(hard or self.state != ON)
            self.state = OFF
            if self._metadata is not None:
                self._metadata.stop()
                self._metadata = None
            self.network.park(self.name, self.namespace)
            netns.delete(self.namespace)

    def reboot(self, *, hard: bool = False) -> None:
        """Off and on again."""
        with self._lock:
            self.power_off(hard=hard)
            self.power_on()

    def kill(self) -> float:
        """The kernel is dead: nothing runs, nothing is answered; EC2 still says running. Returns by when (monotonic)."""
        when = self.network.silence(self.name)
        with self._lock:
            self._require(ON, FROZEN)
            self._kill_system()
            self.state = KILLED
        return when

    def freeze(self) -> float:
        """Everything stands still, the kernel too, until ``thaw``. Returns by when (monotonic)."""
        with self._lock:
            self._require(ON)
            when = self.network.silence(self.name)
            netns.freeze(self.namespace)
            self.state = FROZEN
        return when

    def thaw(self) -> float:
        """Everything goes on as if nothing had been. Returns by when (monotonic)."""
        with self._lock:
            self._require(FROZEN)
            netns.thaw(self.namespace)
            self.state = ON
            return self.network.silence(self.name, False)

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command of this machine that runs ``argv`` on the host."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def exec(self, argv: Sequence[str], *, check: bool = True, timeout: float = 30, **options: Any) -> Any:
        """Run something on the host to its end; a ``CompletedProcess`` with text. ``check``: a failure is a ``LabError``."""
        self._require(ON)
        done = subprocess.run(
            self.command(argv), capture_output=True, text=True, timeout=timeout, check=False, **options
        )
        if check and done.returncode != 0:
            raise LabError(f"{self.title}: {' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
        return done

    def popen(self, argv: Sequence[str], **options: Any) -> Any:
        """Start something on the host. It ends with the host."""
        self._require(ON)
        return subprocess.Popen(self.command(argv), **{"start_new_session": True, **options})

    def processes(self) -> list[int]:
        """The process ids of what runs on the host."""
        return netns.processes(self.namespace)

    def _start_system(self) -> None:
        """There is none."""

    def _stop_system(self, hard: bool) -> None:
        netns.end_processes(self.namespace, grace_s=0.0 if hard else self.stop_grace_s)

    def _kill_system(self) -> None:
        netns.end_processes(self.namespace)

    def _require(self, *states: str) -> None:
        if self.state not in states:
            raise LabError(f"{self.title} is {self.state}")
