# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of NAT nodes that only the role looks at: each an instance of the lab's API, a network namespace and a disk, but no system.

Ansible, the disk, the kernel's settings and rules, the metadata service and the API are real; there is no network between the hosts, and
``systemctl`` only remembers (``systemctl.sh``). Beside a started service ``answerer.py`` answers by which files it was started.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import image, vpc
from ..api.httpd import HttpServer
from ..api.imds import imds_app, serve
from ..fabric import cleanup, netns
from ..fabric.names import API, INTERFACE, METADATA, Names
from ..running_api import ServedApi

CONNECTION = Path(__file__).parent / "connection"
COMMANDS = {"systemctl": "systemctl.sh", "crowd-answerer": "answerer.py"}  # name on the host -> file beside this one
GATEWAY = "10.0.0.1"  # nobody answers there: nothing that a host asks for is beyond it


@dataclass(frozen=True)
class Member:
    """One host."""

    name: str
    namespace: str
    root: Path
    ids: vpc.NodeIds


class Crowd:
    """``pairs`` clusters of two hosts each, pair01-a and pair01-b, pair02-a and so on. Use ``crowd``."""

    def __init__(self, api: ServedApi, names: Names, pairs: int) -> None:
        self.api, self.names = api, names
        self.members: dict[str, Member] = {}
        self._metadata: list[HttpServer] = []
        disk = image.ensure(print)
        with api.api.lock:
            made = vpc.add_pairs(api.ids, pairs)
        for ids in made:
            self.members[ids.name] = member = Member(
                ids.name, names.namespace(ids.name), names.run / ids.name / "root", ids
            )
            self._plug(member)
            self._mount(member, disk)

    def stop(self) -> None:
        """The processes that keep namespaces alive. The rest goes with the lab's name (``cleanup.remove``)."""
        for server in self._metadata:
            server.stop()

    def inventory(self, log: Path | None = None, **variables: Any) -> dict[str, Any]:
        """For Ansible: all hosts in one group, each pair a cluster of its own."""
        hosts = {
            member.name: {
                "ansible_lab_namespace": member.namespace,
                "ansible_lab_root": str(member.root),
                "nat_instance_cluster": member.ids.cluster,
                "nat_instance_instance_id": member.ids.instance_id,
                "nat_instance_address": member.ids.address,
                "nat_instance_route_tables": [member.ids.route_table],
            }
            for member in self.members.values()
        }
        shared = {
            "ansible_connection": "lab_crowd",
            "ansible_lab_log": str(log or ""),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_user": "root",
            "nat_instance_region": self.api.api.region,
            "nat_instance_ec2": {"endpoint_url": f"http://{API}"},
            "nat_instance_conntrack": {"max": 0},  # the size of the table is this machine's, and no host's to set
            "nat_instance_heartbeat_key": "the-key-of-a-crowd-0123456789abcdef",
            **variables,
        }
        return {"all": {"children": {"nat_nodes": {"hosts": hosts, "vars": shared}}}}

    def file(self, host: str, path: str) -> Path:
        """A host's file as this machine sees it."""
        return self.members[host].root / path.lstrip("/")

    def _plug(self, member: Member) -> None:
        """An interface with an address and a default route; the API and the metadata service are on the loopback."""
        netns.create(member.namespace, {"ipv4/ip_forward": "0", "ipv4/conf/default/rp_filter": "0"})
        lines = [f"link add {INTERFACE} type veth peer name far", "link set far up", f"link set {INTERFACE} up"]
        lines += [f"addr add {member.ids.address}/24 dev {INTERFACE}", f"route add default via {GATEWAY}"]
        lines += [f"addr add {address}/32 dev lo" for address in (API, METADATA)]
        netns.ip(member.namespace, lines)
        listeners = netns.inside(
            member.namespace, lambda: [socket.create_server((address, 80)) for address in (API, METADATA)]
        )
        self.api.api.start(listeners[:1])
        self._metadata.append(serve(imds_app(member.ids.instance_id, lock=self.api.api.lock), listeners[1]))

    def _mount(self, member: Member, disk: Path) -> None:
        """A layer of its own over the image, with the kernel's files as the namespace has them."""
        root, layer = member.root, self.names.state / member.name
        for folder in (root, layer / "upper", layer / "work"):
            folder.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={disk},upperdir={layer / 'upper'},workdir={layer / 'work'}"
        netns.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)])
        for kind in ("dev", "proc"):
            netns.run(["mount", "--bind", f"/{kind}", str(root / kind)])
        netns.run(
            ["nsenter", f"--net=/run/netns/{member.namespace}", "mount", "-t", "sysfs", "sysfs", str(root / "sys")]
        )
        netns.run(["mount", "-t", "tmpfs", "tmpfs", str(root / "run")])
        for name, file in COMMANDS.items():
            shutil.copy(Path(__file__).parent / file, root / "usr/local/bin" / name)
            (root / "usr/local/bin" / name).chmod(0o755)


@contextmanager
def crowd(api: ServedApi, names: Names, pairs: int) -> Iterator[Crowd]:
    """Hosts for the time of a ``with``, beside what the API has already. The lab's name says whose they are."""
    made: Sequence[Crowd] = ()
    try:
        made = (Crowd(api, names, pairs),)
        yield made[0]
    finally:
        for each in made:
            each.stop()
        for namespace in names.namespaces():
            if namespace.startswith(names.namespace("pair")):
                netns.end_processes(namespace)
                netns.delete(namespace)
        for folder in (*names.run.glob("pair*"), *names.state.glob("pair*")):
            cleanup.unmount_below(folder)
            if not cleanup.mounts_below(folder):
                shutil.rmtree(folder, ignore_errors=True)
