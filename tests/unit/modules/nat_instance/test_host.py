# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel settings, packages and units that a host gets."""

from __future__ import annotations

import pytest

from .given import NODES

# --- the kernel -----------------------------------------------------------------------------------------------------


TABLE = "net/netfilter/nf_conntrack_"
# memory in KiB, what is given, and the table's size and number of buckets
TABLES = (
    (425_000, {}, 98304, 98304),  # a t4g.nano
    (100_000, {}, 65536, 65536),
    (999_999_999, {}, 4194304, 4194304),
    (425_000, {"max": "100000"}, 100_000, 106_496),
    (425_000, {"max": 0}, None, None),
)


@pytest.mark.parametrize(("memory_kib", "given", "size", "buckets"), TABLES)
def test_the_connection_table_is_sized_by_memory_and_what_is_0_stays(plan, memory_kib, given, size, buckets):
    found = plan(host={"memory_kib": memory_kib}, nat_instance_conntrack={**given, "udp_s": "0"})["conntrack"]
    assert (found.get(TABLE + "max"), found.get(TABLE + "buckets")) == (size, buckets)
    assert found[TABLE + "tcp_timeout_established"] == 7440 and found[TABLE + "tcp_be_liberal"] == 1
    assert TABLE + "udp_timeout" not in found


def test_kernel_settings_are_compared_as_the_kernel_writes_them(plan):
    found = plan(nat_instance_sources=["10.0.0.0/16", "2001:db8::/56"])
    assert found["ipv6"] and found["sysctls"]["net/ipv6/conf/all/forwarding"] == "1"
    assert found["sysctls"]["net/ipv4/conf/ens5/rp_filter"] == "2"
    assert all(isinstance(value, str) for value in found["sysctls"].values())
    assert "net/ipv6/conf/all/forwarding" not in plan()["sysctls"]


def test_packages_that_the_query_does_not_name_are_missing(plan):
    found = plan(host={"packages": ["installed iptables", "not-installed procps"]}, packages=["procps", "iptables"])
    assert found["missing_packages"] == ["procps"]


@pytest.mark.parametrize(("given", "seconds"), [({}, 25), ({"wait_s": 20.2}, 31), ({"wait_s": "1"}, 11)])
def test_systemd_waits_longer_than_a_hand_over_takes(plan, given, seconds):
    assert plan(nat_instance_handover=given)["stop_timeout_s"] == seconds


# --- the units ------------------------------------------------------------------------------------------------------


UNITS = ("nat-failover-rules.service", "nat-failover-repair.socket", "nat-failover-canary.service")
UNITS += ("nat-failover.service", "nat-failover-handover.service")


def shown(**changes):
    """The output of systemctl when all is well but for ``changes`` of a unit by the end of its name."""
    blocks = []
    for unit in UNITS:
        facts = {"Id": unit, "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
        facts.update(changes.get(unit.rsplit("-", maxsplit=1)[-1].partition(".")[0], {}))
        blocks.append("\n".join("{}={}".format(*pair) for pair in facts.items()))
    return "\n\n".join(blocks)


STALE = {"NeedDaemonReload": "yes"}


@pytest.mark.parametrize(
    ("given", "states", "expected"),
    [
        ({}, {}, []),
        ({"nat_instance_witness": True}, {}, []),
        (
            {"nat_instance_witness": True},
            {"failover": {"UnitFileState": "disabled"}},
            [("nat-failover.service", "started", True, False)],
        ),
        ({}, {"canary": STALE}, [("nat-failover-canary.service", "restarted", True, True)]),
        ({}, {"failover": STALE}, [("nat-failover.service", "started", True, True)]),
        (
            {},
            {"rules": {"ActiveState": "inactive", "UnitFileState": ""}, "handover": {"UnitFileState": "disabled"}},
            [
                ("nat-failover-rules.service", "started", True, False),
                ("nat-failover-handover.service", "started", True, False),
            ],
        ),
        (
            {"nat_instance_canary": {"enabled": "no"}},
            {},
            [("nat-failover-canary.service", "stopped", False, False)],
        ),
        (
            {"nat_instance_service_state": "stopped", "nat_instance_service_enabled": "false"},
            {},
            [("nat-failover.service", "stopped", False, False)],
        ),
        (
            {"nat_instance_witness": "true"},
            {"failover": {"ActiveState": "activating"}},
            [("nat-failover.service", "started", True, False)],
        ),
    ],
)
def test_only_units_that_are_not_plainly_right_are_touched(plan, filters, given, states, expected):
    differing = filters["nat_instance_units_differing"](plan(**given)["units"], shown(**states))
    assert [(unit["name"], unit["state"], unit["enabled"], unit["reload"]) for unit in differing] == expected


def test_the_hand_over_is_started_last_since_systemd_stops_in_reverse(plan):
    assert [unit["name"] for unit in plan()["units"]] == list(UNITS)


# --- preflight ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "host", "said"),
    [
        (
            {"flowtable": True},
            {"flowtable": False},
            "flowtable (got true): the kernel 6.1 of this host has no flow tables",
        ),
        ({"flowtable": True}, {"flowtable": True}, ""),
        ({"flowtable": False}, {"flowtable": False}, ""),
        (
            {"receive_cpus": "0-2"},
            {},
            "receive_cpus (got '0-2'): this host has no CPU 2; it has 0-1; name some of these",
        ),
        ({"receive_cpus": "1"}, {}, ""),
        ({"receive_cpus": "all"}, {}, ""),
        ({"receive_cpus": "none"}, {}, ""),
        ({"receive_cpus": "0-2"}, {"online_cpus": ""}, ""),
        ({"receive_cpus": "two"}, {}, "nat_instance_acceleration.receive_cpus: is no list of CPUs (got 'two')"),
    ],
)
def test_what_the_host_lacks_is_refused_before_anything_is_changed(plan, given, host, said):
    facts = {"memory_kib": 425_000, "kernel": "6.1", "online_cpus": "0-1", **host}
    problem = plan(NODES, host=facts, nat_instance_acceleration=given)["problem"]
    assert said in problem if said else problem == ""
    assert plan(NODES, host=facts, nat_instance_acceleration=given)["config"]["acceleration"] == given


def test_a_witness_carries_no_packets_and_lacks_nothing(load):
    problem = load("plugin_utils.nat_instance.acceleration").problem
    asked = {"acceleration": {"flowtable": True, "receive_cpus": "9"}, "witness": True}
    assert problem(asked, {"online_cpus": "0"}) == "" != problem({**asked, "witness": False}, {"online_cpus": "0"})
