# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations that are refused, each with its key, value and remedy, and those that are just safe."""

from __future__ import annotations

import pytest

from nat_failover.config import load as configuration

from .config_case import DUAL, LEAST, TABLE_A, TABLE_B, having, refusal

# Changes, the key refused, the value shown, words of the problem, words of the remedy.
REFUSALS = [
    ({"cluster": 7}, "cluster", 7, "must be a string", "put it in quotes"),
    ({"cluster": "a b"}, "cluster", "a b", "invalid name 'a b'", "at most 64, the first one a letter or a digit"),
    ({"region": "Europe"}, "region", "Europe", "invalid region 'Europe'", "e.g. eu-west-1"),
    ({"mode": "fast"}, "mode", "fast", "is unknown", "observe, route, full"),
    ({"mode": ["full"]}, "mode", ["full"], "is unknown", "observe, route, full"),
    ({"profile": "slow"}, "profile", "slow", "is unknown", "fast, default, calm"),
    ({"interface": "a/../b"}, "interface", "a/../b", "invalid interface name", "`ip link`"),
    ({"interface": "x" * 16}, "interface", "x" * 16, "invalid interface name", "`ip link`"),
    ({"destinations": "0.0.0.0/0"}, "destinations", "0.0.0.0/0", "must be a list of strings", '["..."]'),
    ({"destinations": ["all"]}, "destinations", "all", "is not a network", "write e.g."),
    ({"destinations": []}, "destinations", [], "is empty", "0.0.0.0/0"),
    ({"destinations": ["::/0", "::0/0"]}, "destinations", "::/0", "appears twice", "once"),
    ({"sources": ["10.0.0.0/33"]}, "sources", "10.0.0.0/33", "is not a network", "write e.g."),
    ({"sources": ["2001:db8::/32"]}, "sources", "2001:db8::/32", "hold no IPv4 network", "add the VPC's"),
    ({"sources": ["0.0.0.0/0"]}, "sources", "0.0.0.0/0", "is the whole internet", "of your VPC"),
    ({"sources": ["10.0.0.0/16", "::/0"]}, "sources", "::/0", "is the whole internet", "of your VPC"),
    ({"sources": ["10.0.0.0/16", "fe80::/10"]}, "sources", "fe80::/10", "neither global", "VPC's IPv6 network"),
    ({"sources": ["10.0.0.0/16", "::ffff:0:0/96"]}, "sources", "::ffff:0:0/96", "neither global", "VPC's IPv6"),
    ({"destinations": ["0.0.0.0/0", "::/0"]}, "destinations", "::/0", "sources hold no IPv6 network", "to sources"),
    (
        {"canary": {"targets_ipv6": ["[::1]:443"]}},
        "canary.targets_ipv6",
        "[::1]:443",
        "masquerades no IPv6",
        "leave it out",
    ),
    (
        {"sources": DUAL, "canary": {"targets_ipv6": ["example.com:443"]}},
        "canary.targets_ipv6",
        "example.com:443",
        "is not an IPv6 address",
        "write e.g. [",
    ),
    (
        {"sources": DUAL, "canary": {"address_ipv6": "10.0.0.9"}},
        "canary.address_ipv6",
        "10.0.0.9",
        "is not an IPv6 address",
        "2001:db8:0:1ff:ffff",
    ),
    (
        {"sources": DUAL, "canary": {"address_ipv6": "2001:db9::1"}},
        "canary.address_ipv6",
        "2001:db9::1",
        "is in none of the sources",
        "leave it out",
    ),
    ({"ipv6": "nat66"}, "ipv6", "nat66", "is unknown", "masquerade, forward"),
    ({"ipv6": "forward"}, "ipv6", "forward", "no IPv6 network to forward", "leave this out"),
    ({"sources": []}, "sources", [], "is empty", "10.0.0.0/16"),
    ({"imds": {"users": ["a b"]}}, "imds.users", "a b", "invalid user name", "`id` shows"),
    ({"imds": {"users": ["a", "a"]}}, "imds.users", "a", "twice", "once"),
    ({"imds": {"user": ["a"]}}, "imds.user", ["a"], "is unknown", "users"),
    (
        {"input": {"allow": [{"port": 0, "networks": ["10.0.0.0/8"]}]}},
        "input.allow[0].port",
        0,
        "out of range",
        "65535",
    ),
    ({"input": {"allow": [{"port": 22, "networks": []}]}}, "input.allow[0].networks", [], "empty", "may reach"),
    ({"input": {"allow": [{"port": 22, "networks": ["x"]}]}}, "input.allow[0].networks", "x", "x", "100.64.0.0/16"),
    ({"input": {"allow": [{"port": 22, "protocol": "sctp"}]}}, "input.allow[0].protocol", "sctp", "unknown", "tcp"),
    ({"input": {"deny": []}}, "input.allow", None, "is missing", "set it"),
    ({"acceleration": {"receive_cpus": "0-"}}, "acceleration.receive_cpus", "0-", "no list of CPUs", "0-2,5"),
    ({"acceleration": {"receive_cpus": 2}}, "acceleration.receive_cpus", 2, "must be a string", "quotes"),
    ({"acceleration": {"flowtable": "yes"}}, "acceleration.flowtable", "yes", "must be true or false", "quotes"),
    ({"acceleration": {"flowtables": True}}, "acceleration.flowtables", True, "unknown", "flowtable"),
    ({"clamp_mss": 1360}, "clamp_mss", 1360, "must be a string", "quotes"),
    ({"clamp_mss": "535"}, "clamp_mss", "535", "neither", "1360"),
    ({"clamp_mss": "8962"}, "clamp_mss", "8962", "neither", "1360"),
    ({"clamp_mss": "yes"}, "clamp_mss", "yes", "neither", "leave it out"),
    ({"nodes": {}}, "nodes", {}, "must be a list", "architecture.md"),
    ({"nodes": ["nat-a"]}, "nodes[0]", "nat-a", "must be an object", "architecture.md"),
    ({"nodes": LEAST["nodes"][:1]}, "nodes", ["nat-a"], "at least two nodes that NAT", "other availability zone"),
    (
        {"nodes__1__witness": True, "nodes__1__route_tables": []},
        "nodes",
        ["nat-a"],
        "at least two nodes that NAT",
        "other availability zone",
    ),
    ({"nodes__1__witness": True}, "nodes[1].route_tables", [TABLE_B], "a witness owns no routes", "remove them"),
    ({"nodes__1__witness": "yes"}, "nodes[1].witness", "yes", "must be true or false", "without quotes"),
    ({"nodes__1__name": "nat-a"}, "nodes[].name", "nat-a", "appears twice", "a name of its own"),
    ({"nodes__1__name": "../b"}, "nodes[1].name", "../b", "invalid name '../b'", "at most 63"),
    (
        {"nodes__0__instance_id": "i-0xyz"},
        "nodes[0].instance_id",
        "i-0xyz",
        "invalid instance id",
        "i- and then 8 or 17",
    ),
    (
        {"nodes__0__instance_id": "i-0aaaaaaaaa"},
        "nodes[0].instance_id",
        "i-0aaaaaaaaa",
        "invalid instance id",
        "8 or 17",
    ),
    (
        {"nodes__1__instance_id": "i-0aaaaaaaaaaaaaaaa"},
        "nodes[].instance_id",
        "i-0aaaaaaaaaaaaaaaa",
        "appears twice",
        "instance of its own",
    ),
    (
        {"nodes__1__route_tables": ["rtb-1"]},
        "nodes[1].route_tables",
        "rtb-1",
        "invalid route table id",
        "rtb- and then 8 or 17",
    ),
    ({"nodes__1__route_tables": TABLE_B}, "nodes[1].route_tables", TABLE_B, "must be a list of strings", '["..."]'),
    ({"nodes__1__route_tables": [TABLE_A]}, "nodes[].route_tables", TABLE_A, "nat-a and nat-b", "one node"),
    ({"nodes__0__route_tables": [TABLE_A] * 2}, "nodes[0].route_tables", TABLE_A, "appears twice", "once"),
    ({"nodes__0__address": "10.0.0"}, "nodes[0].address", "10.0.0", "is not an IPv4 address", "private address"),
    ({"nodes__0__address": "::1"}, "nodes[0].address", "::1", "is not an IPv4 address", "private address"),
    (
        {"nodes__0__address": "10.0.0.1", "nodes__1__address": "10.0.0.1"},
        "nodes[].address",
        "10.0.0.1",
        "appears twice",
        "address of its own",
    ),
    ({"self": "nat-z"}, "self", "nat-z", "is not in the list of nodes (nat-a, nat-b)", "set it to this node's name"),
    ({"heartbeat": []}, "heartbeat", [], "must be an object", "architecture.md"),
    ({"heartbeat": {"port": 80}}, "heartbeat.port", 80, "is out of range", "choose 1024 to 65535"),
    ({"heartbeat": {"port": 4710.5}}, "heartbeat.port", 4710.5, "must be a whole number", "without a fraction"),
    ({"heartbeat": {"interval_ms": "100"}}, "heartbeat.interval_ms", "100", "must be a number", "without quotes"),
    ({"heartbeat": {"interval_ms": True}}, "heartbeat.interval_ms", True, "must be a number", "without quotes"),
    ({"heartbeat": {"silent_after_ms": 99}}, "heartbeat.silent_after_ms", 99, "out of range", "choose 100 to 60000"),
    ({"return": {"policy": "never"}}, "return.policy", "never", "is unknown", "auto, manual"),
    ({"return": {"after_s": 60, "max_s": 30}}, "return.max_s", 30, "less than return.after_s (60)", "raise"),
    ({"fence": {"policy": "stonith"}}, "fence.policy", "stonith", "is unknown", "stop_start, reboot, none"),
    ({"fence": {"max_per_hour": 1.5}}, "fence.max_per_hour", 1.5, "must be a whole number", "without a fraction"),
    ({"self_check": {"targets": ["1.1.1.1"]}}, "self_check.targets", "1.1.1.1", "is not host:port", "1.1.1.1:443"),
    ({"self_check": {"targets": []}}, "self_check.targets", [], "is empty", "udp://1.1.1.1:53"),
    ({"self_check": {"minimum": 4}}, "self_check.minimum", 4, "more than the number of targets (3)", "add targets"),
    ({"ec2": {"endpoint_url": "localhost"}}, "ec2.endpoint_url", "localhost", "is not a URL", "region's endpoint"),
    ({"ec2": {"read_timeout_s": 0}}, "ec2.read_timeout_s", 0, "is out of range", "choose 0.1 to 60"),
    ({"witness": {"dynamodb_table": "a"}}, "witness.dynamodb_table", "a", "invalid table name", "3 to 255"),
    ({"witness": {"lock_lease_s": 60}}, "witness.dynamodb_table", None, "is missing", "leave `witness` out"),
    ({"witness": {"table": "nat"}}, "witness.table", "nat", "is unknown", "dynamodb_table, endpoint_url, lock_lease_s"),
    (
        {"witness": {"dynamodb_table": "nat", "endpoint_url": "x"}},
        "witness.endpoint_url",
        "x",
        "is not a URL",
        "region's endpoint",
    ),
    ({"runtime_directory": "run"}, "runtime_directory", "run", "is not an absolute path", "/run/nat-failover"),
    ({"state_directory": "lib"}, "state_directory", "lib", "is not an absolute path", "/var/lib/nat-failover"),
    ({"key_file": "heartbeat.key"}, "key_file", "heartbeat.key", "is not an absolute path", "/etc/nat-failover"),
    ({"canary": {"address": "10.9"}}, "canary.address", "10.9", "is not an IPv4 address", "10."),
    ({"canary": {"address": "192.0.2.1"}}, "canary.address", "192.0.2.1", "is in none of the sources", "leave it out"),
    (
        {"nodes__0__address": "10.0.0.10", "canary": {"address": "10.0.0.10"}},
        "canary.address",
        "10.0.0.10",
        "is a node's address",
        "leave it out",
    ),
    ({"canary": {"enabled": "no"}}, "canary.enabled", "no", "must be true or false", "without quotes"),
    ({"canary": {"targets": ["1.1.1.1"]}}, "canary.targets", "1.1.1.1", "is not host:port", "1.1.1.1:443"),
    ({"canary": {"minimum": 9}}, "canary.minimum", 9, "is more than the number of targets (3)", "add targets"),
    ({"takeover": {"early": "yes"}}, "takeover.early", "yes", "must be true or false", "without quotes"),
    ({"takeover": {"soon": True}}, "takeover.soon", True, "is unknown", "known here: early"),
    ({"profile": "fast", "ec2": {"poll_s": 13}}, "takeover.early", True, "up to 16.0 s ago", "lower ec2.poll_s (13)"),
    ({"takeover": {"early": True}, "ec2": {"poll_s": 60}}, "takeover.early", True, "law L8", "set this to false"),
    ({"handover": {"rebalance": "run"}}, "handover.rebalance", "run", "is unknown", "choose one of: report, drain"),
    ({"handover": {"wait_s": 0}}, "handover.wait_s", 0, "is out of range", "choose 1 to 300"),
    # Unknown keys, at every depth.
    ({"handover": {"lead": 1}}, "handover.lead", 1, "is unknown", "scheduled_lead_s"),
    ({"canary": {"every": 1}}, "canary.every", 1, "is unknown", "interval_s"),
    ({"modes": "full"}, "modes", "full", "is unknown", "known here: acceleration, canary, clamp_mss, cluster, "),
    ({"nodes__1__ip": "10.0.0.1"}, "nodes[1].ip", "10.0.0.1", "is unknown", "address, egress_address, egress_networks"),
    ({"heartbeat": {"interval": 1}}, "heartbeat.interval", 1, "is unknown", "interval_ms"),
    ({"return": {"after": 1}}, "return.after", 1, "is unknown", "after_s"),
    ({"fence": {"after": 1}}, "fence.after", 1, "is unknown", "after_s"),
    ({"self_check": {"timeout": 1}}, "self_check.timeout", 1, "is unknown", "timeout_ms"),
    ({"ec2": {"endpoint": "x"}}, "ec2.endpoint", "x", "is unknown", "endpoint_url"),
]


@pytest.mark.parametrize("changes, key, value, problem, remedy", REFUSALS, ids=lambda value: str(value)[:40])
def test_refusals_name_key_value_and_remedy(changes, key, value, problem, remedy):
    error = refusal(having(**changes))
    assert error.key == key
    assert error.value == value
    assert remedy in error.remedy
    assert problem in str(error)
    assert str(error).count(repr(value)) >= (value is not None), "the value is shown"
    assert not any(sign in error.remedy for sign in ("{", "\\", "+)", "]*")), "no regular expression is shown"
    assert "\n" not in str(error)


UNSAFE = [
    # Fewer than 5 probes within the silence: random loss fakes a death.
    ({"heartbeat": {"burst_interval_ms": 121}}, "heartbeat.burst_interval_ms", 121, "fewer than 5 probes"),
    # One late heartbeat would decide.
    ({"heartbeat": {"interval_ms": 301}}, "heartbeat.silent_after_ms", 600, "two heartbeat intervals"),
    # Less than the slower node's detection and flare: mutual fencing. 0.1 + 0.6 + 2 * (1 + 2) + 1 = 7.7 s.
    ({"fence": {"after_s": 7.6}}, "fence.after_s", 7.6, "7.7 s"),
    ({"fence": {"stagger_s": 7.6}}, "fence.stagger_s", 7.6, "7.7 s"),
    ({"ec2": {"read_timeout_s": 20}}, "fence.after_s", 30, "43.7 s"),
    # A lock that its holder cannot renew in time: 4 * (1 + 2 + 1).
    ({"witness": {"dynamodb_table": "nat", "lock_lease_s": 15.9}}, "witness.lock_lease_s", 15.9, "16.0 s"),
    # A peer that boots would be taken for dead.
    ({"profile": "calm", "unseen_after_s": 3.9}, "unseen_after_s", 3.9, "a booting peer"),
]


@pytest.mark.parametrize("changes, key, value, problem", UNSAFE, ids=lambda value: str(value)[:40])
def test_unsafe_timings_are_refused(changes, key, value, problem):
    error = refusal(having(**changes))
    assert (error.key, error.value) == (key, value)
    assert problem in str(error)
    assert error.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"heartbeat": {"burst_interval_ms": 120}},
        {"heartbeat": {"interval_ms": 300}},
        {"fence": {"after_s": 7.7, "stagger_s": 7.7}},
        {"fence": {"policy": "none", "after_s": 1, "stagger_s": 1}},
        {"mode": "route", "fence": {"after_s": 1}},
        {"profile": "calm", "unseen_after_s": 4},
        {"return": {"after_s": 30, "max_s": 30}},
    ],
    ids=str,
)
def test_timings_just_safe_are_taken(changes):
    assert configuration.parse(having(**changes))


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_not_an_object(raw):
    error = refusal(raw)
    assert error.key == "config"
    assert "must be an object" in str(error)
