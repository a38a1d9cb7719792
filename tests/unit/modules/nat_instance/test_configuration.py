# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a node, what is refused in it, and when a change needs a restart."""

from __future__ import annotations

import pytest

from .given import NODES


def test_the_configuration_holds_what_was_asked_for_only(plan):
    made = plan(NODES, nat_instance_fence={"after_s": "45"}, nat_instance_clamp_mss=1360)
    assert made["problem"] == ""
    assert list(made["config"]) == [
        *("cluster", "self", "region", "mode", "profile", "nodes", "destinations", "interface", "sources", "ipv6"),
        *("unseen_after_s", "unmanaged_after_s", "key_file", "clamp_mss", "imds", "fence"),
    ]
    assert made["config"]["fence"] == {"after_s": 45} and made["config"]["clamp_mss"] == "1360"


@pytest.mark.parametrize(
    ("given", "section"),
    [
        ({}, {"users": ["nat-failover"]}),
        ({"nat_instance_imds_users": ["cwagent", "nat-failover"]}, {"users": ["nat-failover", "cwagent"]}),
        ({"nat_instance_imds_restricted": "no", "nat_instance_imds_users": ["cwagent"]}, None),
        ({"nat_instance_witness": True}, None),  # it has no rules
    ],
)
def test_the_metadata_service_answers_the_service_and_whom_the_operator_names(plan, given, section):
    assert plan(NODES, **given)["config"].get("imds") == section


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nat_instance_imds_users": ["no one"]}, "nat_instance_imds_users: invalid user name 'no one'"),
        ({"nat_instance_fence": {"after_s": 1}}, "nat_instance_fence.after_s: is shorter than"),
        ({"nat_instance_canary": {"address": "192.0.2.1"}}, "nat_instance_canary.address: is in none of the sources"),
        ({"nat_instance_witness_table": {"lock_lease_s": 90}}, "nat_instance_witness_table.dynamodb_table: is missing"),
        ({"nat_instance_sources": ["10.0.0.0/33"]}, "nat_instance_sources: is not a network (got '10.0.0.0/33')"),
        ({"nat_instance_name": "b a d"}, "nat_instance_name: is not in the list of nodes"),
    ],
)
def test_the_engine_refuses_it_in_the_words_of_the_role(plan, given, said):
    found = plan(NODES, **given)["problem"]
    assert found.startswith(said) and "\n" not in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nodes[1].name: is bad (got 'x y')", "nat_instance_name of nat-b: is bad (got 'x y')"),
        ("nodes[].address: appears twice", "nat_instance_address: appears twice"),
        ("nat-failover: key_file: holds no key", "nat-failover: nat_instance_heartbeat_key: holds no key"),
        ("self: is not there", "nat_instance_name: is not there"),
        (
            "fence.stagger_s: too short; raise fence.stagger_s, or lower ec2.*_timeout_s",
            (
                "nat_instance_fence.stagger_s: too short; raise nat_instance_fence.stagger_s, or lower"
                " nat_instance_ec2.*_timeout_s"
            ),
        ),
        ("ec2:DescribeInstances on x: denied", "ec2:DescribeInstances on x: denied"),
        ("https://ec2.eu-west-1.amazonaws.com: gone", "https://ec2.eu-west-1.amazonaws.com: gone"),
    ],
)
def test_keys_of_the_file_become_variables(filters, line, said):
    assert filters["nat_instance_words"](line, ["nat-a", "nat-b"]) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k" * 32, ""),
        ("k" * 32 + "\n" + "l" * 40 + "\n", ""),
        ("Grüße-aus-der-Zone-a-und-der-Zone-b-0123", "holds characters outside ASCII"),
        ("s3cret" * 4, "the key in line 1 is too short: 24 of at least 32 characters"),
        ("\n", "holds no key"),
    ],
)
def test_a_key_is_refused_as_the_engine_refuses_it_and_never_shown(filters, text, said):
    found = filters["nat_instance_key_problem"](text)
    assert said in found and bool(found) == bool(said)
    assert text.strip() == "" or text not in found


SSH = {"port": 22, "networks": ["192.0.2.0/24"]}
FROM = {"address": "192.0.2.7", "port": 22}
CLOSED = {"nat_instance_input_rules": True}


@pytest.mark.parametrize(
    ("given", "connection", "refused"),
    [
        ({}, FROM, False),
        (CLOSED, FROM, True),
        (CLOSED, {}, False),  # SSM, a console
        ({**CLOSED, "nat_instance_input_allow": [SSH]}, FROM, False),
        ({**CLOSED, "nat_instance_input_allow": [{**SSH, "protocol": "udp"}]}, FROM, True),
        ({**CLOSED, "nat_instance_input_allow": [{**SSH, "port": "2222"}]}, FROM, True),
        ({**CLOSED, "nat_instance_input_allow": [{**SSH, "port": "2222"}]}, {**FROM, "port": 2222}, False),
        ({**CLOSED, "nat_instance_input_allow": [{**SSH, "networks": ["192.0.3.0/24"]}]}, FROM, True),
        ({**CLOSED, "nat_instance_input_allow": [SSH]}, {"address": "127.0.0.1", "port": 22}, False),
        ({**CLOSED, "nat_instance_input_allow": [SSH]}, {"address": "2001:db8::1", "port": 22}, False),
        (
            {**CLOSED, "nat_instance_sources": ["10.0.0.0/16", "fd00:1::/48"]},
            {"address": "2001:db8::1", "port": 22},
            True,
        ),
        ({**CLOSED, "nat_instance_witness": True}, FROM, False),
    ],
)
def test_rules_that_would_lock_out_the_connection_of_the_role_are_refused(plan, given, connection, refused):
    problem = plan(NODES, host={"memory_kib": 425_000, "ssh_connection": connection}, **given)["problem"]
    assert bool(problem) == refused and "\n" not in problem
    if refused:
        assert problem.startswith("nat_instance_input_allow (got [")
        assert f"from {connection['address']} to port {connection['port']}; add {{port: " in problem


def test_ports_are_closed_only_where_that_was_asked_for(plan):
    assert "input" not in plan(NODES, nat_instance_input_allow=[SSH])["config"]
    assert plan(NODES, **CLOSED)["config"]["input"] == {"allow": []}
    asked = plan(NODES, nat_instance_input_rules="yes", nat_instance_input_allow=[SSH])
    assert asked["config"]["input"] == {"allow": [SSH]} and asked["problem"] == ""
    bad = plan(NODES, **CLOSED, nat_instance_input_allow=[{**SSH, "networks": ["10.0.0.1/8"]}])["problem"]
    assert bad.startswith("nat_instance_input_allow[0].networks: ") and "host bits" in bad


PRESENT = {
    "self": "nat-a",
    "cluster": "prod",
    "region": "eu-west-1",
    "nodes": [{"name": "nat-a"}],
}


@pytest.mark.parametrize(
    ("present", "given", "restart"),
    [
        (PRESENT, {}, False),
        (PRESENT, {"nat_instance_mode": "observe"}, False),
        (PRESENT, {"nat_instance_heartbeat": {"port": 4710}}, False),
        (PRESENT, {"nat_instance_heartbeat": {"port": 4711}}, True),
        (PRESENT, {"nat_instance_ec2": {"poll_s": 7}}, True),
        (PRESENT, {"nat_instance_witness": True}, True),
        ({**PRESENT, "nodes": [{"name": "nat-a", "witness": True}]}, {}, True),
        ({**PRESENT, "cluster": "old"}, {}, True),
        ({**PRESENT, "heartbeat": {"port": 5000}}, {}, True),
        ({}, {}, True),
    ],
)
def test_what_a_reload_refuses_needs_a_restart(plan, present, given, restart):
    import json

    host = {"memory_kib": 1, "config": json.dumps(present) if present else ""}
    assert plan(NODES, host=host, **given)["needs_restart"] is restart


def test_a_damaged_configuration_needs_a_restart(plan):
    assert plan(NODES, host={"memory_kib": 1, "config": "{"})["needs_restart"] is True
