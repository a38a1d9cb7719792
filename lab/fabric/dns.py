# SPDX-License-Identifier: GPL-3.0-or-later
"""The VPC's name server: dnsmasq in the router's namespace. It knows balancers, the lab's internet and names that rebind, and no others.

AWS: Amazon VPC User Guide, "DNS attributes for your VPC": at the base of the VPC's network plus two, and at 169.254.169.253.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..api.snapshot import Balancer
from ..errors import LabError
from . import netns, rebind
from .names import ARCHIVE, ARCHIVE_NAME, METADATA, REBINDING, RESOLVER, RESOLVERS, WEB, WEB_NAMES

REBIND_PORT = 5353
TTL_S = 60  # AWS: that of a load balancer's records
START_S = 10.0
# A question of RFC 1035 for the root's address: whatever the answer, the server is up.
ANY_QUESTION = b"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1"


def records(balancers: Iterable[Balancer]) -> dict[str, tuple[str, ...]]:
    """The addresses of each name."""
    own = {**dict.fromkeys(WEB_NAMES, (WEB,)), ARCHIVE_NAME: (ARCHIVE,)}
    return {**own, **{each.dns_name.lower(): each.answers for each in balancers}}


def hosts(names: Mapping[str, Sequence[str]]) -> str:
    """As a file of hosts(5)."""
    return "".join(f"{address} {name}\n" for name, addresses in sorted(names.items()) for address in addresses)


def command(file: Path) -> list[str]:
    """dnsmasq without the machine's own configuration. Every other name does not exist."""
    return [
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"),
        *("--no-resolv", "--no-poll", "--no-hosts", "--bind-interfaces", "--no-negcache", f"--local-ttl={TTL_S}"),
        *(f"--listen-address={address}" for address in RESOLVERS),
        *(f"--addn-hosts={file}", "--address=/#/", f"--server=/{REBINDING}/127.0.0.1#{REBIND_PORT}"),
    ]


class NameServer:
    """The running server. It ends with what runs in the router's namespace."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self._namespace = namespace
        self._file = folder / "names"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Returns when it answers."""
        netns.ip(self._namespace, [f"addr add {address}/32 dev lo" for address in RESOLVERS])
        self._write(records(()))
        other = [sys.executable, str(Path(rebind.__file__)), str(REBIND_PORT), WEB, METADATA]
        for argv in (other, command(self._file)):
            words = ["ip", "netns", "exec", self._namespace, *argv]
            nothing = subprocess.DEVNULL
            self._processes.append(
                subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
            )
        end = time.monotonic() + START_S
        while not netns.inside(self._namespace, _answers):
            if time.monotonic() > end:
                raise LabError("the lab's name server did not start")

    def follow(self, balancers: Iterable[Balancer]) -> None:
        """Answer with the balancers' addresses of now."""
        if self._processes and self._write(records(balancers)):
            self._processes[-1].send_signal(signal.SIGHUP)

    def wait(self) -> None:
        """Collect the processes, which have ended."""
        for process in self._processes:
            process.wait()

    def _write(self, names: Mapping[str, Sequence[str]]) -> bool:
        """Whether the file has changed."""
        text = hosts(names)
        if self._file.exists() and self._file.read_text(encoding="ascii") == text:
            return False
        draft = self._file.with_suffix(".draft")
        draft.write_text(text, encoding="ascii")
        draft.rename(self._file)
        return True


def _answers() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.05)
        try:
            client.sendto(ANY_QUESTION, (RESOLVER, 53))
            return bool(client.recv(512))
        except OSError:
            time.sleep(0.02)
            return False
