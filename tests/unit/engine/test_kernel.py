# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's files, in temporary folders."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.host import kernel
from nat_failover.model.nat import Identity, Nat

NAT = Nat(("10.0.0.0/16", "172.16.0.0/12"), "ens5")
BOTH = Nat(("10.0.0.0/16", "fd00:1::/48", "2001:db8::/56"), "ens5")
ROUTED = replace(BOTH, ipv6="forward")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_sysctls(tmp_path):
    write(tmp_path / "sys/net/ipv4/ip_forward", "1\n")
    assert kernel.read_sysctl("net/ipv4/ip_forward", str(tmp_path)) == "1"
    assert kernel.read_sysctl("net/ipv4/nothing", str(tmp_path)) == ""


@pytest.mark.parametrize("nat", [NAT, BOTH])
def test_flows_are_taken_up_in_the_middle_for_identities_only(nat):
    moving = replace(nat, identities=(Identity("nat-a", "10.0.0.20", ("10.0.10.0/24",)),))
    assert kernel.sysctls(moving) == {**kernel.sysctls(nat), kernel.LOOSE: "1"}
    assert kernel.tracking(moving) == {kernel.LIBERAL: "1", kernel.LOOSE: "1"}
    assert kernel.tracking(nat) == {kernel.LIBERAL: "1"}


def test_router_advertisements_are_accepted_before_forwarding_begins():
    """The other way round the kernel forgets the default route that it learned from one."""
    assert list(kernel.sysctls(NAT)) == ["net/ipv4/ip_forward", "net/ipv4/conf/ens5/rp_filter", kernel.LIBERAL]
    assert list(kernel.sysctls(BOTH).items())[3:] == [
        ("net/ipv6/conf/ens5/accept_ra", "2"),
        ("net/ipv6/conf/all/forwarding", "1"),
    ]
    assert kernel.sysctls(ROUTED) == kernel.sysctls(BOTH)


def test_forwarded_packets_of_both_families(tmp_path):
    assert kernel.forwarded_packets(str(tmp_path)) == 0
    write(tmp_path / "net/snmp", "Ip: Forwarding DefaultTTL ForwDatagrams\nIp: 1 64 40\n")
    assert kernel.forwarded_packets(str(tmp_path)) == 40
    write(tmp_path / "net/snmp6", "Ip6InReceives                   \t9\nIp6OutForwDatagrams             \t2\n")
    assert kernel.forwarded_packets(str(tmp_path)) == 42


@pytest.mark.parametrize(
    ("flags", "state", "problem"),
    [
        ("0x1003", "up", ""),
        ("0x1003", "unknown", ""),
        ("0x1002", "down", "interface ens5 is down"),
        ("0x1003", "lowerlayerdown", "interface ens5 is lowerlayerdown"),
        ("", "", "there is no interface ens5"),
    ],
)
def test_interfaces(tmp_path, flags, state, problem):
    if flags:
        write(tmp_path / "ens5/flags", flags)
        write(tmp_path / "ens5/operstate", state)
    assert kernel.interface_problem("ens5", str(tmp_path)) == problem


def test_default_routes(tmp_path):
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    rows = [("ens5", "00000000", "0100000A", "00000000"), ("ens6", "0000000A", "00000000", "0000FFFF")]
    lines = [f"{i}\t{d}\t{g}\t0003\t0\t0\t0\t{m}\t0\t0\t0" for i, d, g, m in rows]
    write(tmp_path / "net/route", head + "\n".join(lines) + "\n")
    assert kernel.default_routes(str(tmp_path)) == ["ens5"]
    assert kernel.default_routes(str(tmp_path / "nowhere")) == []


def test_ipv6_default_routes(tmp_path):
    """As /proc/net/ipv6_route prints them: what the kernel has on lo rejects."""
    zero, gateway = "0" * 32, "fe80000000000000" + "0" * 15 + "1"
    rows = [
        (zero, "00", "00000400", "00000003", "ens5"),
        (zero, "00", "ffffffff", "00200200", "lo"),
        ("2001" + "0" * 28, "20", "00000400", "00000003", "ens6"),
    ]
    lines = [
        f"{to} {length} {zero} 00 {gateway} {metric} 00000001 00000000 {flags} {device.rjust(8)}"
        for to, length, metric, flags, device in rows
    ]
    write(tmp_path / "net/ipv6_route", "\n".join(lines) + "\n")
    assert kernel.ipv6_default_routes(str(tmp_path)) == ["ens5"]
    assert kernel.ipv6_default_routes(str(tmp_path / "nowhere")) == []


def test_ipv6_addresses(tmp_path):
    """As /proc/net/if_inet6 prints them: address, index, length, scope, flags, name."""
    address = "20010db8" + "0" * 24
    for scope, flags, name in (("20", "80", "ens5"), ("00", "40", "ens5"), ("00", "88", "ens5"), ("00", "80", "ens6")):
        write(tmp_path / "net/if_inet6", f"{address} 02 40 {scope} {flags} {name.rjust(8)}\n")
        assert kernel.ipv6_addresses("ens5", str(tmp_path)) == [], (scope, flags, name)
    write(tmp_path / "net/if_inet6", f"{address} 02 80 00 00     ens5\n")
    assert kernel.ipv6_addresses("ens5", str(tmp_path)) == [address]


@pytest.mark.parametrize(("count", "most", "fill"), [("50", "200", 0.25), ("", "", 0.0), ("5", "0", 0.0)])
def test_conntrack_fill(tmp_path, count, most, fill):
    write(tmp_path / "sys/net/netfilter/nf_conntrack_count", count)
    write(tmp_path / "sys/net/netfilter/nf_conntrack_max", most)
    assert kernel.conntrack_fill(str(tmp_path)) == fill
