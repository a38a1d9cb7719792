# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that live with others: firewalld itself, and the legacy backend of iptables. What Docker does is among the faults of the benchmark."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import NODE, PEER, SETTINGS, Fault, kinds, on_node, suffer
from tests.integration.e2e.cluster import Cluster, running_cluster

# Both zones and port as an operator would configure them on a NAT node.
ZONE = """<?xml version="1.0" encoding="utf-8"?>
<zone><interface name="ens5"/><service name="ssh"/><port port="4710" protocol="udp"/><forward/></zone>
"""
BUS = """<busconfig><type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth><policy context="default">
<allow user="*"/><allow own="*"/><allow send_type="*"/><allow receive_type="*"/><allow send_destination="*"/></policy></busconfig>
"""


class Firewalld:
    """The real one, with a message bus of its own, on a host of the lab."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._host = cluster.lab.host(NODE)
        self._etc = folder / "firewalld"
        shutil.copytree("/etc/firewalld", self._etc)
        (self._etc / "zones").mkdir(exist_ok=True)
        (self._etc / "zones" / "public.xml").write_text(ZONE, encoding="ascii")
        self._bus = folder / "bus"
        (folder / "bus.conf").write_text(BUS % self._bus, encoding="ascii")
        self._environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self._bus}"}
        self._log = folder / "firewalld.log"
        self._options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    @contextmanager
    def running(self) -> Iterator[None]:
        bus = self._host.popen(["dbus-daemon", f"--config-file={self._bus}.conf", "--nofork"], **self._options)
        _until(self._bus.exists)
        words = ["firewalld", "--nofork", "--nopid", "--system-config", str(self._etc), "--log-file", str(self._log)]
        daemon = self._host.popen(words, env=self._environment, **self._options)
        try:
            _until(lambda: self._tell("--state").returncode == 0)
            yield
        finally:
            for process in (daemon, bus):
                process.terminate()
                process.wait(timeout=20)

    def reload(self) -> None:
        assert self._tell("--reload").stdout == "success\n"

    def _tell(self, word: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = self._host.exec(
            ["firewall-cmd", word], check=False, env=self._environment
        )
        return done


def _until(true: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "firewalld or its bus did not start"
        time.sleep(0.2)


@pytest.mark.skipif(
    not shutil.which("firewalld", path="/usr/sbin"),
    reason="firewalld is not installed; ./dev installs it only where no systemd would start it",
)
def test_firewalld_takes_the_rules_away_at_each_reload_and_they_come_back(tmp_path: Path) -> None:
    """It flushes all that iptables shows, and brings chains of its own (nftables) that a customer's packets pass too."""
    with running_cluster(tmp_path, settings=SETTINGS, helpers=True) as cluster:
        firewalld = Firewalld(cluster, tmp_path)
        with cluster.lab.stream("client-a", kind="tcp", interval_s=0.02) as stream:
            stream.wait_for_answer()
            with firewalld.running():
                cluster.wait("mended after its start", lambda: kinds(cluster, 0).count("mended") == 1)
                began = time.monotonic()
                firewalld.reload()
                cluster.wait("mended after its reload", lambda: kinds(cluster, 0).count("mended") == 2)
                stream.wait_for_answer()
                assert stream.result().outage_ms(began) < 8000, "about 0.3 s on a quiet machine"
                assert cluster.run(NODE, "rules", "check").stdout == "ok\n"
                cluster.wait("the canary is content", lambda: cluster.status(NODE)["self"]["canary"] == "answered")
                assert "firewalld" in cluster.lab.exec(NODE, ["nft", "list", "tables"]).stdout
        assert cluster.writes("StopInstances") == []
        assert "fight" not in kinds(cluster, 0)


class Legacy(Cluster):
    """A cluster whose hosts have the legacy commands under the usual names, as ``update-alternatives`` would make it for a whole machine."""

    def environment(self) -> dict[str, str]:
        shim = self.folder / "legacy"
        if not shim.exists():
            shim.mkdir()
            legacy = shutil.which("xtables-legacy-multi", path="/usr/sbin:/sbin")
            assert legacy, "the package iptables of Debian 12 has both backends"
            for family in ("iptables", "ip6tables"):
                for name in ("", "-save", "-restore"):
                    (shim / (family + name)).symlink_to(legacy)
        before = super().environment()
        return {**before, "PATH": f"{shim}:{before['PATH']}"}


def test_rules_of_the_legacy_backend_are_kept_mended_and_proven(tmp_path: Path) -> None:
    with running_cluster(tmp_path, settings=SETTINGS, helpers=True, make=Legacy) as cluster:
        saved = cluster.lab.exec(NODE, ["iptables-legacy-save"]).stdout
        assert "-A FORWARD -j NAT-FAILOVER-FORWARD" in saved and "-j MASQUERADE" in saved
        assert "NAT-FAILOVER" not in cluster.lab.exec(NODE, ["iptables-nft-save"]).stdout
        for fault in (
            Fault("nat_flushed", "mended", "no jump from POSTROUTING", on_node("iptables-legacy -t nat -F")),
            Fault(
                "forward_drop_rule",
                "handed over",
                "a client's packets get no answer",
                on_node("iptables-legacy -I FORWARD 1 -j DROP"),
                on_node("iptables-legacy -D FORWARD -j DROP"),
            ),
        ):
            outcome = suffer(cluster, fault)
            assert (outcome.ends, outcome.fences) == (fault.ends, 0), outcome
            assert fault.says in outcome.said and outcome.outage_ms < 8000
        assert cluster.run(PEER, "rules", "remove").stdout == "changed\n"
        assert "NAT-FAILOVER" not in cluster.lab.exec(PEER, ["iptables-legacy-save"]).stdout
