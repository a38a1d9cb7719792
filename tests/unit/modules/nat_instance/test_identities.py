# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities and what only they need: synchronised connections, kernel settings, private addresses."""

from __future__ import annotations

import pytest

from .given import NODES, A, B, unit_names

# --- identities -----------------------------------------------------------------------------------------------------


IDENTITY_A = {
    "nat_instance_egress_address": "eipalloc-0aaaaaaaaaaaaaaaa",
    "nat_instance_egress_private_address": "10.0.0.20",
    "nat_instance_egress_networks": ["10.0.10.0/24"],
}
WAITS_FOR_A = {"nat_instance_egress_waiting": {"nat-a": "10.0.1.21"}}


def test_the_identities_of_all_nodes_are_in_the_configuration(plan, cluster):
    nodes = cluster({"nat-a": {**A, **IDENTITY_A}, "nat-b": {**B, **WAITS_FOR_A}})["nodes"]
    config = plan(nodes)["config"]
    assert config["nodes"][0]["egress_address"] == "eipalloc-0aaaaaaaaaaaaaaaa"
    assert config["nodes"][0]["egress_networks"] == ["10.0.10.0/24"]
    assert config["nodes"][1]["egress_waiting"] == {"nat-a": "10.0.1.21"}
    assert plan(nodes)["problem"] == ""


def test_without_an_egress_address_the_configuration_has_no_such_key(plan, cluster):
    nodes = cluster({"nat-a": A, "nat-b": B})["nodes"]
    assert not any("egress" in key for node in plan(nodes)["config"]["nodes"] for key in node)


def test_a_bad_identity_is_refused_in_the_words_of_the_role(plan, cluster):
    bad = {**IDENTITY_A, "nat_instance_egress_networks": ["192.0.2.0/24"]}
    nodes = cluster({"nat-a": {**A, **bad}, "nat-b": B})["nodes"]
    problem = plan(nodes)["problem"]
    assert problem.startswith("nat_instance_egress_networks of nat-a: is in none of the sources"), problem


@pytest.mark.parametrize(
    "own, variable, address",
    [
        ({"nat_instance_egress_private_address": "10.0.1.20"}, "nat_instance_egress_private_address", "10.0.1.20"),
        ({"nat_instance_egress_waiting": {"nat-b": "10.0.1.21"}}, "nat_instance_egress_waiting", "10.0.1.21"),
    ],
)
def test_an_address_outside_of_the_subnet_of_the_interface_is_refused(plan, cluster, own, variable, address):
    other = {**IDENTITY_A, "nat_instance_egress_address": "eipalloc-0bbbbbbbbbbbbbbbb"}
    other.update(nat_instance_egress_private_address="10.0.1.30", nat_instance_egress_networks=["10.0.11.0/24"])
    nodes = cluster({"nat-a": {**A, **IDENTITY_A, **own}, "nat-b": {**B, **other}})["nodes"]
    assert plan(nodes)["problem"] == ""  # the subnet is not known
    problem = plan(nodes, network="10.0.0.10/255.255.255.0")["problem"]
    assert problem.startswith(f"{variable} (got '{address}') is outside of 10.0.0.0/24, the subnet of ens5"), problem


# --- synchronised connections ---------------------------------------------------------------------------------------


SYNC_FILES = [
    "/etc/systemd/system/nat-failover-sync.service",
    "/etc/nat-failover/conntrackd.conf",
]
SYNCED = [
    {
        "name": name,
        "instance_id": f"i-0{letter * 16}",
        "route_tables": [f"rtb-0{letter * 16}"],
        "address": f"10.0.{number}.10",
        "egress_address": f"eipalloc-0{letter * 16}",
        "egress_private_address": f"10.0.{number}.20",
        "egress_networks": [f"10.0.1{number}.0/24"],
        "egress_waiting": {other: f"10.0.{number}.21"},
    }
    for name, other, letter, number in (("nat-a", "nat-b", "a", 0), ("nat-b", "nat-a", "b", 1))
]


def test_synchronised_connections_have_a_unit_and_a_file_that_names_the_peer(plan):
    made = plan(SYNCED, nat_instance_state_sync="conntrackd")
    assert made["problem"] == ""
    assert made["config"]["state_sync"] == "conntrackd"
    assert "nat-failover-sync.service" in unit_names(made) and "nat-failover-sync.service" in made["new_units"]
    assert made["sync"]["peer"] == "10.0.1.10"
    for line in ("IPv4_address 10.0.0.10", "IPv4_Destination_Address 10.0.1.10", "Interface ens5"):
        assert f"{line}\n" in made["sync"]["content"]
    assert [line for line in made["sync"]["content"].split() if line.endswith("/24")] == [
        "10.0.10.0/24",
        "10.0.11.0/24",
    ]
    watcher = plan(SYNCED, nat_instance_state_sync="conntrackd", nat_instance_witness=True)
    assert not watcher["sync"]["enabled"] and "state_sync" not in watcher["config"]


def test_without_it_there_is_nothing_of_it_and_what_was_there_goes(plan):
    made = plan(SYNCED)
    assert "state_sync" not in made["config"] and "nat-failover-sync.service" not in unit_names(made)
    assert (made["sync"]["left_over"], made["absent_units"]) == ([], [])
    made = plan(SYNCED, host={"memory_kib": 425_000, "optional": SYNC_FILES})
    assert (made["sync"]["left_over"], made["absent_units"]) == (SYNC_FILES[1:], SYNC_FILES[:1])
    kept = plan(SYNCED, host={"memory_kib": 425_000, "optional": SYNC_FILES}, nat_instance_state_sync="conntrackd")
    assert (kept["sync"]["left_over"], kept["absent_units"], kept["new_units"]) == ([], [], [])


def test_a_host_without_conntrackd_whose_packages_are_not_managed_is_refused_in_one_line(plan):
    host = {"memory_kib": 425_000, "executable_problems": {"/usr/sbin/conntrackd": "is not there"}}
    problem = plan(SYNCED, host=host, nat_instance_state_sync="conntrackd")["problem"]
    assert "nat_instance_state_sync" in problem and "/usr/sbin/conntrackd is not there" in problem
    assert "install the packages" in problem and "\n" not in problem


@pytest.mark.parametrize(
    ("nodes", "given", "words"),
    [
        (NODES, {}, ["nat_instance_state_sync", "no node waits for the identity"]),
        ([{**SYNCED[0], "address": ""}, SYNCED[1]], {}, ["nat_instance_address"]),
        (SYNCED, {"nat_instance_acceleration": {"flowtable": True}}, ["flowtable", "cannot be rewritten"]),
    ],
)
def test_a_synchronisation_that_cannot_work_is_refused_in_the_words_of_the_role(plan, nodes, given, words):
    host = {"memory_kib": 425_000, "flowtable": True}
    problem = plan(nodes, host=host, nat_instance_state_sync="conntrackd", **given)["problem"]
    assert [word for word in words if word not in problem] == [], problem


# --- kernel settings that only identities need ----------------------------------------------------------------------


LOOSE = "net/netfilter/nf_conntrack_tcp_loose"
OURS = "/etc/sysctl.d/90-nat-failover.conf"


def with_files(*files, now="1"):
    return {"memory_kib": 425_000, "sysctl_files": {LOOSE: [list(each) for each in files]}, "sysctls": {LOOSE: now}}


@pytest.fixture
def moving(cluster):
    """The nodes of a cluster in which one has an identity, and the other one waits for it."""
    return cluster({"nat-a": {**A, **IDENTITY_A}, "nat-b": {**B, **WAITS_FOR_A}})["nodes"]


def test_flows_are_taken_up_in_the_middle_only_with_an_identity(plan, cluster, moving):
    assert plan(moving)["sysctls"][LOOSE] == plan(moving)["conntrack"][LOOSE] == "1"
    assert plan(moving, nat_instance_name="nat-b")["sysctls"][LOOSE] == "1", "its peer may come here"
    bare = plan(cluster({"nat-a": A, "nat-b": B})["nodes"])
    assert LOOSE not in bare["sysctls"] and LOOSE not in bare["conntrack"] and bare["undone_sysctls"] == {}


def test_a_file_that_undoes_it_at_each_boot_is_refused(plan, cluster, moving):
    problem = plan(moving, host=with_files((OURS, "1"), ("/etc/sysctl.d/99-hardening.conf", "0")))["problem"]
    assert problem.startswith("nat_instance_egress_address: /etc/sysctl.d/99-hardening.conf sets net.netfilter.nf_conn")
    assert problem.endswith("remove that line, or leave the egress addresses out")
    earlier = with_files(("/usr/lib/sysctl.d/50-hardening.conf", "0"), (OURS, "1"))
    assert plan(moving, host=earlier)["problem"] == "", "the role's file has the last word"
    nodes = cluster({"nat-a": A, "nat-b": B})["nodes"]
    assert plan(nodes, host=with_files(("/etc/sysctl.d/99-hardening.conf", "0")))["problem"] == ""


@pytest.mark.parametrize(
    "files, now, wanted",
    [
        ([(OURS, "1")], "1", {}),  # the kernel's own value is the same
        ([(OURS, "1")], "0", {LOOSE: "1"}),
        ([("/etc/sysctl.d/50-hardening.conf", "0"), (OURS, "1")], "1", {LOOSE: "0"}),
        ([("/etc/sysctl.d/50-hardening.conf", "0")], "1", {}),  # the role has never set it
    ],
)
def test_without_an_identity_any_more_it_is_put_back(plan, cluster, moving, files, now, wanted):
    nodes = cluster({"nat-a": A, "nat-b": B})["nodes"]
    assert plan(nodes, host=with_files(*files, now=now))["undone_sysctls"] == wanted
    assert plan(moving, host=with_files(*files, now=now))["undone_sysctls"] == {}


def test_the_private_addresses_that_the_role_may_assign(plan, cluster, moving):
    assert plan(moving)["private_addresses"] == ["10.0.0.20"]
    assert plan(moving, nat_instance_name="nat-b")["private_addresses"] == ["10.0.1.21"]
    assert plan(cluster({"nat-a": A, "nat-b": B})["nodes"])["private_addresses"] == []
