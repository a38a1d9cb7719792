# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole lab inside a test's process: real packets, bare hosts by default, no daemon. Needs root."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .fabric import cleanup
from .fabric.names import Names
from .hosts.host import Host
from .hosts.weights import node_maker
from .stream import Stream
from .world import World, forward

__all__ = ["RunningLab", "forward", "running_lab"]


class RunningLab(World):
    """A ``World`` with what tests need besides."""

    def stream(self, client: str = "client-a", **options: Any) -> Stream:
        """Start a stream from a host to the internet; see ``Stream`` for the options. Use it as a context manager."""
        return Stream(self.host(client).popen, self.names.run, **options)

    def connect(self, host: str, address: str, port: int, timeout_s: float = 1.0) -> bool:
        """Whether a host gets a TCP connection."""
        code = (
            "import socket, sys\n"
            "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()\n"
            "except OSError: sys.exit(1)\n"
        )
        argv = ["python3", "-S", "-c", code, address, str(port), str(timeout_s)]
        return bool(self.exec(host, argv, check=False).returncode == 0)

    def ping(self, host: str, address: str, timeout_s: float = 1.0) -> bool:
        """Whether a host gets an ICMP echo answered."""
        argv = ["ping", "-n", "-q", "-c", "1", "-W", str(timeout_s), address]
        return bool(self.exec(host, argv, check=False).returncode == 0)


@contextmanager
def running_lab(
    name: str | None = None,
    *,
    zones: Sequence[str] = ("a", "b"),
    weight: str = "bare",
    on_boot: Callable[[Host], None] | None = None,
    source_dest_check: bool = True,
    enforce_iam: bool = False,
    transition_s: float = 0.2,
    **options: Any,
) -> Iterator[RunningLab]:
    """A lab for the time of a ``with``. ``on_boot(host)`` is called on each NAT node at each boot, also of ``StartInstances``.

    Try ``on_boot=forward, source_dest_check=False`` for NAT nodes that just work. The name is unique to the process; one lab at a time.
    """
    names = Names(name or f"{cleanup.TESTS}{os.getpid()}")
    cleanup.sweep_tests()
    cleanup.remove(names)
    cleanup.record(names, "owner", os.getpid())
    try:
        lab = RunningLab(
            names,
            zones=zones,
            make_node=node_maker(weight, names, lambda text: print(text, file=sys.stderr)),
            on_boot=on_boot,
            source_dest_check=source_dest_check,
            enforce_iam=enforce_iam,
            transition_s=transition_s,
            **options,
        )
        try:
            yield lab
        finally:
            lab.stop()
    finally:
        cleanup.remove(names)
