# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of the kernel and of the network driver. The real ioctl is done in the lab."""

from __future__ import annotations

from nat_failover.host import nic_counters
from nat_failover.host.nic_counters import DROPPED, SQUEEZED

PPS = "pps_allowance_exceeded"


def test_softnet_is_summed_over_cpus(tmp_path):
    (tmp_path / "net").mkdir()
    rows = ["0000c0de 00000001 0000000a 00000000", "0000beef 0000000f 00000001 00000000"]
    (tmp_path / "net" / "softnet_stat").write_text("\n".join(rows) + "\n")
    assert nic_counters.softnet(str(tmp_path)) == {DROPPED: 16, SQUEEZED: 11}
    assert nic_counters.softnet(str(tmp_path / "nowhere")) == {}


def test_of_a_drivers_counters_only_allowances_are_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(nic_counters, "driver_counters", lambda _interface: {PPS: 3, "queue_0_tx_cnt": 9})
    assert nic_counters.read("ens5", str(tmp_path)) == {PPS: 3}


def test_no_such_interface_has_no_counters():
    assert nic_counters.driver_counters("nope0") == {}
