# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster whose nodes synchronise the connections of their identities by conntrackd."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from lab.fabric.names import INTERFACE
from lab.hosts.host import Host
from lab.vpc import ZoneIds
from nat_failover.host import conntrackd_conf
from tests.integration.e2e.cluster import Cluster


class Synchronised(Cluster):
    """A cluster whose nodes run conntrackd, as the role's unit does: it starts anew with its machine."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.settings["state_sync"] = "conntrackd"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, host: Host) -> None:
        self.start_daemon(host)
        super().start(host)

    def start_daemon(self, host: Host) -> None:
        """conntrackd by the file that the role writes, and the request for the flows of the peer."""
        zones = {zone.node: zone for zone in self.lab.ids.zones.values()}
        [peer] = [zone for zone in zones.values() if zone.node != host.name]
        home = self.folder / host.name
        run, path = home / "sync", home / conntrackd_conf.NAME
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        networks = [network for zone in zones.values() for network in self._member(zone)["egress_networks"]]
        own = zones[host.name].private_ip
        text = conntrackd_conf.text(own, peer.private_ip, INTERFACE, networks, 65536, str(run))
        path.write_text(text, encoding="ascii")
        argv = ["conntrackd", "-C", str(path)]
        with self.log.open("ab") as log:
            self.daemons[host.name] = host.popen(argv, stdout=log, stderr=log)
        self.wait("conntrackd", lambda: not host.exec([*argv, "-n"], check=False).returncode)

    def _member(self, zone: ZoneIds) -> dict[str, Any]:
        return {**super()._member(zone), "address": zone.private_ip}

    def problem(self, node: str) -> str:
        """The problem that a node has with the synchronisation."""
        return str(self.status(node)["state_sync"]["problem"])

    def arranged(self, node: str) -> dict[str, str]:
        """The places that the conntrackd of a node was told last."""
        found: dict[str, str] = self.status(node)["state_sync"]["arranged"]
        return found
