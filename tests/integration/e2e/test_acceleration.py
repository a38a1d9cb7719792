# SPDX-License-Identifier: GPL-3.0-or-later
"""Offers of the kernel to carry packets sooner, as far as the kernel of this machine has it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.faults import NODE, SETTINGS
from nat_failover.model.cpu_list import cpus_of
from tests.integration.e2e.cluster import Cluster, running_cluster

MASK = "/sys/class/net/ens5/queues/rx-0/rps_cpus"
PROBE = 'table inet probe { flowtable f { hook ingress priority 0; devices = { "ens5" }; } }'


def test_packets_are_spread_and_a_kernel_without_flow_tables_refuses_in_one_line(tmp_path: Path) -> None:
    with running_cluster(tmp_path, settings={**SETTINGS, "acceleration": {"receive_cpus": "all"}}) as cluster:
        online = cpus_of(Path("/sys/devices/system/cpu/online").read_text().strip())
        assert _mask(cluster) == sum(1 << cpu for cpu in online)
        cluster.lab.exec(NODE, ["sh", "-c", f"echo 0 > {MASK}"])
        done = cluster.run(NODE, "rules", "check")
        assert done.returncode == 1 and "missing: rx-0 of ens5 has the mask 0, not 0000" in done.stdout
        assert [cluster.run(NODE, "rules", "apply").stdout for _time in range(2)] == ["changed\n", "ok\n"]
        cluster.write_config(NODE, acceleration={"receive_cpus": f"{max(online) + 1}"})
        done = cluster.run(NODE, "rules", "apply")
        assert done.returncode == 1 and f"this host has no CPU {max(online) + 1}; it has " in done.stderr
        assert _mask(cluster) == sum(1 << cpu for cpu in online)
        cluster.write_config(NODE, acceleration={"receive_cpus": "none", "flowtable": True})
        done = cluster.run(NODE, "rules", "apply")
        if cluster.lab.exec(NODE, ["nft", "--check", "-f", "-"], input=PROBE, check=False).returncode:
            assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
            assert "acceleration.flowtable (got true): nft failed (1): " in done.stderr
            assert "CONFIG_NF_FLOW_TABLE) leave it out" in done.stderr
            assert "nat_failover" not in cluster.lab.exec(NODE, ["nft", "list", "tables"]).stdout
        else:
            assert done.stdout == "changed\n" and cluster.run(NODE, "rules", "check").stdout == "ok\n"
            assert "flowtable fast" in cluster.lab.exec(NODE, ["nft", "list", "ruleset"]).stdout
        cluster.write_config(NODE, acceleration={"receive_cpus": "none"})
        assert cluster.run(NODE, "rules", "apply").stdout == "changed\n"
        assert _mask(cluster) == 0 and cluster.run(NODE, "rules", "check").stdout == "ok\n"


def _mask(cluster: Cluster) -> int:
    return int(cluster.lab.exec(NODE, ["cat", MASK]).stdout.replace(",", ""), 16)
