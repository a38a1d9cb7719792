# SPDX-License-Identifier: GPL-3.0-or-later
"""The CPUs that packets are spread over, on a pretended /sys."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import queues
from nat_failover.model.cpu_list import cpus_of
from nat_failover.model.nat import Nat

NAT = Nat(("10.0.0.0/16",), "ens5", receive_cpus="all")


@pytest.fixture
def sys(tmp_path):
    """Four CPUs, and an interface with two receive queues."""
    (tmp_path / "devices/system/cpu").mkdir(parents=True)
    (tmp_path / "devices/system/cpu/online").write_text("0-3\n")
    for queue in ("rx-0", "rx-1", "tx-0"):
        folder = tmp_path / "class/net/ens5/queues" / queue
        folder.mkdir(parents=True)
        if queue != "tx-0":
            (folder / "rps_cpus").write_text("0\n")
    return tmp_path


def masks(sys):
    return [(sys / f"class/net/ens5/queues/rx-{queue}/rps_cpus").read_text().strip() for queue in (0, 1)]


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", {0}), ("0-2", {0, 1, 2}), ("1,3-4", {1, 3, 4}), ("3,3", {3}), ("31-32", {31, 32})]
)
def test_lists_of_cpus(text, cpus):
    assert cpus_of(text) == cpus


@pytest.mark.parametrize("text", ["", "a", "2-1", "1,", "-1", "1 2", "4096", "0-99999", "٣"])
def test_what_is_no_list_of_cpus(text):
    with pytest.raises(ValueError):
        cpus_of(text)


@pytest.mark.parametrize(
    ("cpus", "online", "mask"),
    [
        ("all", "0-3", "0000000f"),
        ("none", "0-3", "00000000"),
        ("1,3", "0-3", "0000000a"),
        ("all", "0-32", "00000001,ffffffff"),
        ("40", "0-63", "00000100,00000000"),
    ],
)
def test_each_queue_gets_the_mask_once(sys, cpus, online, mask):
    (sys / "devices/system/cpu/online").write_text(online + "\n")
    nat = replace(NAT, receive_cpus=cpus)
    for queue in (0, 1):
        (sys / f"class/net/ens5/queues/rx-{queue}/rps_cpus").write_text("4\n")
    assert len(queues.differences(nat, str(sys))) == 2
    assert queues.apply(nat, str(sys)) is True
    assert masks(sys) == [mask, mask]
    assert queues.differences(nat, str(sys)) == []
    assert queues.apply(nat, str(sys)) is False


def test_a_mask_in_the_kernels_own_words_is_right(sys):
    (sys / "class/net/ens5/queues/rx-0/rps_cpus").write_text("00000000,0000000f\n")
    (sys / "class/net/ens5/queues/rx-1/rps_cpus").write_text("7\n")
    assert queues.differences(NAT, str(sys)) == ["missing: rx-1 of ens5 has the mask 7, not 0000000f"]


def test_without_the_setting_the_hosts_own_stays(sys):
    (sys / "class/net/ens5/queues/rx-0/rps_cpus").write_text("2\n")
    nat = replace(NAT, receive_cpus="")
    assert queues.differences(nat, str(sys)) == [] and queues.apply(nat, str(sys)) is False
    assert masks(sys) == ["2", "0"]


def test_cpus_that_the_host_lacks_are_refused_and_nothing_is_changed(sys):
    nat = replace(NAT, receive_cpus="2-5")
    with pytest.raises(
        NatFailoverError, match=r"receive_cpus \(got '2-5'\): this host has no CPU 4, 5; it has 0, 1, 2, 3"
    ):
        queues.apply(nat, str(sys))
    assert masks(sys) == ["0", "0"]


def test_a_kernel_without_steering_is_told(sys):
    os.remove(sys / "class/net/ens5/queues/rx-1/rps_cpus")
    for call in (queues.apply, queues.differences):
        with pytest.raises(NatFailoverError, match="cannot steer the packets of ens5 .*leave it out"):
            call(NAT, str(sys))
    assert (sys / "class/net/ens5/queues/rx-0/rps_cpus").read_text() == "0\n"
