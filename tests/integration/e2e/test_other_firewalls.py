# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that live with others: firewalld itself, and the legacy backend of iptables. Docker's changes are among the faults of the benchmark."""

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

from benchmarks.faults import NODE, PEER, SETTINGS, Fault, events, kinds, on_node, suffer
from nat_failover.observe.self_repair import BURST
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

    @staticmethod
    def version() -> int:
        """The first part of the installed one's version."""
        done = subprocess.run(["firewall-offline-cmd", "--version"], capture_output=True, text=True, check=True)
        return int(done.stdout.partition(".")[0])

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
def test_the_rules_outlast_a_start_and_a_reload_of_firewalld(tmp_path: Path) -> None:
    """Firewalld 1 flushes all that iptables shows (Debian 12), 2 does not (Debian 13). Both bring chains that a customer's packets pass, too."""
    flushes = Firewalld.version() < 2
    with running_cluster(tmp_path, settings=SETTINGS, helpers=True) as cluster:
        firewalld = Firewalld(cluster, tmp_path)
        with cluster.lab.stream("client-a", kind="tcp", interval_s=0.02) as stream:
            stream.wait_for_answer()
            with firewalld.running():
                # It takes the rules away table by table, so one start or reload may need several repairs.
                cluster.wait("repaired after its start", lambda: _repairs(cluster) >= flushes and _whole(cluster), 30)
                time.sleep(BURST)
                before, began = _repairs(cluster), time.monotonic()
                firewalld.reload()
                cluster.wait(
                    "repaired after its reload", lambda: _repairs(cluster) >= before + flushes and _whole(cluster), 30
                )
                stream.wait_for_answer()
                assert stream.result().outage_ms(began) < 8000, "about 0.3 s on a quiet machine"
                cluster.wait("the canary is answered", lambda: cluster.status(NODE)["self"]["canary"] == "answered")
                assert "firewalld" in cluster.lab.exec(NODE, ["nft", "list", "tables"]).stdout
                warned = "rules of others may drop clients' packets: nft chain inet firewalld filter_FORWARD"
                cluster.wait("its rules are told", lambda: warned in str(cluster.status(NODE)["self"]["warnings"]), 40)
        assert (_repairs(cluster) > 0) == flushes
        assert cluster.writes("StopInstances") == []
        assert "fight" not in kinds(cluster, 0)


def _repairs(cluster: Cluster) -> int:
    return kinds(cluster, 0).count("mended")


def _whole(cluster: Cluster) -> bool:
    return cluster.run(NODE, "rules", "check").stdout == "ok\n"


# As a role that is applied to all hosts may write it. iptables-save prints nothing of a table that holds it.
NATIVE = """
add chain ip filter INPUT { type filter hook input priority 0; policy accept; }
add rule ip filter INPUT tcp dport { 22, 80, 443 } ct state new counter accept
"""
EARLY = """
add table inet guard
add chain inet guard early { type filter hook forward priority -50; policy accept; }
add rule inet guard early ip daddr 192.0.2.99 counter drop
"""


def test_a_table_that_iptables_cannot_print_is_compared_repaired_and_moves_no_route(tmp_path: Path) -> None:
    with running_cluster(tmp_path, settings=SETTINGS, helpers=True) as cluster:
        for node in (NODE, PEER):
            cluster.lab.exec(node, ["nft", "-f", "-"], input=NATIVE)
            shown = cluster.lab.exec(node, ["iptables-save", "-t", "filter"]).stdout
            assert "incompatible" in shown and "FORWARD" not in shown
        time.sleep(3)
        cluster.settle()
        for node in (NODE, PEER):
            assert cluster.run(node, "rules", "check").stdout == "ok\n"
            assert cluster.run(node, "rules", "apply").stdout == "ok\n"
            assert _jumps(cluster, node) == 1
        assert _repairs(cluster) == 0
        # Native rules in the built-in chain itself, copies of the jump, and then no jump at all.
        on_node("nft insert rule ip filter FORWARD tcp dport { 22, 80 } counter accept")(cluster)
        for _copy in range(3):
            on_node("iptables -A FORWARD -j NAT-FAILOVER-FORWARD")(cluster)
        cluster.wait("one jump is left", lambda: _jumps(cluster, NODE) == 1)
        assert cluster.writes() == [], events(cluster)
        on_node("iptables -D FORWARD -j NAT-FAILOVER-FORWARD")(cluster)
        cluster.wait("the jump is back", lambda: _jumps(cluster, NODE) == 1 and _whole(cluster))
        # A rule of another table on the way of clients' packets.
        cluster.lab.exec(NODE, ["nft", "-f", "-"], input=EARLY)
        text = "nft chain inet guard early: ip daddr 192.0.2.99 drop"
        cluster.wait("it is told", lambda: text in str(cluster.status(NODE)["self"]["warnings"]), 40)
        assert text in cluster.run(NODE, "status").stdout
        assert cluster.writes("StopInstances") == []
        assert "fight" not in kinds(cluster, 0)
        cluster.service(PEER).terminate()  # it would repair what is removed
        cluster.service(PEER).wait(timeout=20)
        assert cluster.run(PEER, "rules", "remove").stdout == "changed\n"
        assert "NAT-FAILOVER" not in cluster.lab.exec(PEER, ["nft", "list", "ruleset"]).stdout


def _jumps(cluster: Cluster, node: str) -> int:
    listed: str = cluster.lab.exec(node, ["nft", "list", "chain", "ip", "filter", "FORWARD"]).stdout
    return listed.count("jump NAT-FAILOVER-FORWARD")


ROLE = """
import urllib.request as u
base = "http://169.254.169.254/latest/"
ask = u.Request(base + "api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
token = u.urlopen(ask, timeout=3).read().decode()
url = base + "meta-data/iam/security-credentials/"
print(u.urlopen(u.Request(url, headers={"X-aws-ec2-metadata-token": token}), timeout=3).read().decode())
"""


def test_a_client_and_other_users_get_no_credentials_and_the_node_does(tmp_path: Path) -> None:
    with running_cluster(tmp_path, settings={**SETTINGS, "imds": {"users": ["daemon"]}}, helpers=True) as cluster:

        def asked(host: str, user: int | None = None) -> str:
            """The name of the role that the metadata service gives, or the last word of the error."""
            as_user = ["setpriv", f"--reuid={user}", "--clear-groups"] if user is not None else []
            done = cluster.lab.exec(host, [*as_user, "/usr/bin/python3", "-c", ROLE], check=False)
            return str(done.stdout.strip() or done.stderr.strip().splitlines()[-1])

        assert asked(NODE).startswith("lab-") and asked(NODE, 1).startswith("lab-"), "root, and daemon"
        assert "refused" in asked(NODE, 65534)
        assert "timed out" in asked("client-a")
        on_node("iptables -F OUTPUT")(cluster)
        cluster.wait("the rule is back", lambda: "refused" in asked(NODE, 65534))
        assert cluster.status(NODE)["self"]["forwarding"] and cluster.owners("a") == {NODE}
        assert cluster.status(NODE)["self"]["canary"] == "answered"
        assert cluster.run(NODE, "rules", "check").stdout == "ok\n"


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
            # The legacy backend reports no change of its rules. So the canary may notice a loss before they are read, and
            # the routes leave for the moment in which the rules are mended.
            first = outcome.ends == "handed over" and "a client's packets get no answer" in outcome.said
            assert outcome.fences == 0 and outcome.outage_ms < 8000, outcome
            assert first or (outcome.ends == fault.ends and fault.says in outcome.said), outcome
        assert "-j MASQUERADE" in cluster.lab.exec(NODE, ["iptables-legacy-save"]).stdout
        assert cluster.run(PEER, "rules", "remove").stdout == "changed\n"
        assert "NAT-FAILOVER" not in cluster.lab.exec(PEER, ["iptables-legacy-save"]).stdout
