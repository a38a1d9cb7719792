# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration: each refusal names the key, its value and the remedy; everything left out has its documented default."""

from __future__ import annotations

import copy
import json

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import ConfigError
from nat_failover.model import settings
from nat_failover.model.cluster import Claim
from nat_failover.model.settings import Target

TABLE_A, TABLE_B = "rtb-0aaaaaaaaaaaaaaaa", "rtb-0bbbbbbbbbbbbbbbb"
LEAST = {
    "cluster": "prod",
    "self": "nat-a",
    "region": "eu-west-1",
    "nodes": [
        {"name": "nat-a", "instance_id": "i-0aaaaaaaaaaaaaaaa", "route_tables": [TABLE_A]},
        {"name": "nat-b", "instance_id": "i-0bbbbbbbbbbbbbbbb", "route_tables": [TABLE_B]},
    ],
    "interface": "ens5",
    "key_file": "/etc/nat-failover/heartbeat.key",
}
GONE = object()


DUAL = ["10.0.0.0/16", "2001:DB8:0:100::1/56", "fd00:1::/48"]


def having(**changes):
    """The least configuration with changes; ``nodes_0_name`` means ``nodes[0].name``, ``GONE`` removes a key."""
    raw = copy.deepcopy(LEAST)
    for path, value in changes.items():
        target = raw
        *parents, last = path.split("__")
        for part in parents:
            target = target[int(part)] if part.isdigit() else target.setdefault(part, {})
        if value is GONE:
            del target[last]
        else:
            target[last] = value
    return raw


def refusal(raw):
    with pytest.raises(ConfigError) as caught:
        configuration.parse(raw)
    return caught.value


def test_defaults():
    config = configuration.parse(LEAST)
    assert (config.mode, config.destinations, config.sources) == (
        "full",
        ("0.0.0.0/0",),
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    )
    assert config.heartbeat == settings.Heartbeat(port=4710, interval=0.1, burst_interval=0.02, silent_after=0.6)
    assert config.returns == settings.Return(policy="auto", after=30, maximum=1800)
    assert config.fence == settings.Fence("stop_start", after=30, stagger=15, stop_timeout=120, max_per_hour=2)
    assert config.self_check == settings.SelfChecks(
        tuple(Target("tcp", host, 443) for host in ("1.1.1.1", "8.8.8.8", "9.9.9.9")),
        minimum=1,
        timeout=0.4,
        interval=2,
    )
    assert config.handover == settings.Handover(poll=5, rebalance="report", scheduled_lead=300, on_stop="keep", wait=15)
    assert config.ec2 == settings.Ec2Settings(endpoint_url=None, connect_timeout=1, read_timeout=2, poll=5)
    assert (config.unseen_after, config.unmanaged_after) == (10, 60)
    assert (config.runtime_directory, config.state_directory) == ("/run/nat-failover", "/var/lib/nat-failover")
    assert [node.address for node in config.nodes] == [None, None]


@pytest.mark.parametrize(
    "profile, interval, burst, silent",
    [("fast", 0.1, 0.02, 0.25), ("default", 0.1, 0.02, 0.6), ("calm", 0.2, 0.05, 2.0)],
)
def test_profiles_set_the_heartbeat(profile, interval, burst, silent):
    beat = configuration.parse(having(profile=profile)).heartbeat
    assert (beat.interval, beat.burst_interval, beat.silent_after) == (interval, burst, silent)


@pytest.mark.parametrize(("profile", "early"), [("fast", True), ("default", False), ("calm", False)])
def test_only_the_profile_fast_takes_routes_early(profile, early):
    assert configuration.parse(having(profile=profile)).takeover.early is early
    assert configuration.parse(having(profile=profile, takeover={"early": not early})).takeover.early is not early


def test_an_early_takeover_may_rest_on_readings_of_fifteen_seconds():
    assert configuration.parse(having(profile="fast", ec2={"poll_s": 12})).ec2.reading_age == 15
    configuration.parse(having(profile="fast", takeover={"early": False}, ec2={"poll_s": 60}))


def test_a_heartbeat_number_beats_the_profile():
    beat = configuration.parse(having(profile="fast", heartbeat={"silent_after_ms": 300})).heartbeat
    assert (beat.interval, beat.silent_after) == (0.1, 0.3)


def test_null_means_left_out():
    config = configuration.parse(having(ec2={"endpoint_url": None}, mode=None, fence=None))
    assert config.ec2.endpoint_url is None
    assert config.mode == "full"
    assert config.fence.policy == "stop_start"


def test_destinations_are_canonical():
    # EC2 stores the canonical form: a re-read must find it again.
    raw = having(destinations=["10.1.2.3/8", "::/0", "2001:DB8::1/32", "pl-0123abcd"], sources=DUAL)
    config = configuration.parse(raw)
    assert config.destinations == ("10.0.0.0/8", "::/0", "2001:db8::/32", "pl-0123abcd")


@pytest.mark.parametrize(("given", "mode"), [({}, "masquerade"), ({"ipv6": "forward"}, "forward")])
def test_ipv6_sources(given, mode):
    config = configuration.parse(having(sources=DUAL, **given))
    assert config.nat == settings.Nat(("10.0.0.0/16", "2001:db8:0:100::/56", "fd00:1::/48"), "ens5", mode)
    assert config.nat.has_ipv6 and not configuration.parse(LEAST).nat.has_ipv6


def test_the_canary_is_of_the_first_ipv4_source():
    config = configuration.parse(having(sources=["2001:db8::/56", "10.0.0.0/16"]))
    assert config.canary.address == "10.0.255.255"
    assert config.canary.ipv6.address == "2001:db8:0:ff:ffff:ffff:ffff:ffff"


@pytest.mark.parametrize(
    "given", [{}, {"sources": DUAL, "ipv6": "forward"}, {"sources": DUAL, "canary": {"ipv6": False}}], ids=str
)
def test_no_canary_of_ipv6(given):
    assert configuration.parse(having(**given)).canary.ipv6 is None


def test_what_the_canary_asks_over_ipv6():
    found = configuration.parse(having(sources=DUAL, canary={"minimum": 2})).canary.ipv6
    assert (len(found.targets), found.minimum) == (3, 2)
    found = configuration.parse(having(sources=DUAL, canary={"minimum": 2, "targets_ipv6": ["[fd00:1::9]:80"]}))
    assert [str(target) for target in found.canary.ipv6.targets] == ["[fd00:1::9]:80"]
    assert found.canary.ipv6.minimum == 1


def test_claims_are_tables_times_destinations():
    config = configuration.parse(having(destinations=["0.0.0.0/0", "::/0"], sources=DUAL, nodes__1__route_tables=[]))
    assert config.claims == (Claim(TABLE_A, "0.0.0.0/0", "nat-a"), Claim(TABLE_A, "::/0", "nat-a"))


def test_me_peers_and_rank():
    config = configuration.parse(having(self="nat-b"))
    assert config.me.name == "nat-b"
    assert [peer.name for peer in config.peers] == ["nat-a"]
    assert (config.rank("nat-a"), config.rank("nat-b")) == (0, 1)


@pytest.mark.parametrize("key", ["cluster", "self", "region", "nodes", "interface", "key_file"])
def test_required(key):
    error = refusal(having(**{key: GONE}))
    assert (error.key, error.value) == (key, None)
    assert str(error) == f"{key}: is missing; set it"


def test_required_of_a_node():
    error = refusal(having(nodes__0__name=GONE))
    assert str(error) == "nodes[0].name: is missing; set it"


def test_instances_and_tables_may_be_left_to_their_tags():
    config = configuration.parse(having(nodes=[{"name": "nat-a"}, {"name": "nat-b"}]))
    assert [(node.instance_id, node.route_tables) for node in config.nodes] == [("", ()), ("", ())]
    assert config.claims == ()


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


def test_load(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LEAST), encoding="utf-8")
    assert configuration.load(str(path)) == configuration.parse(LEAST)


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"", "is not JSON"),
        (b'{"cluster": "a", "cluster": "b"}', "'cluster' appears twice"),
        (b"[" * 100000, "is not JSON"),
    ],
)
def test_load_refuses_what_is_not_json(tmp_path, content, problem):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        configuration.load(str(path))
    assert (caught.value.key, caught.value.value) == ("config", str(path))
    assert problem in str(caught.value)


def test_load_refuses_an_absent_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory.*--config"):
        configuration.load(str(tmp_path / "absent.json"))


def test_keys(tmp_path):
    path = tmp_path / "key"
    path.write_text("{}\n\n  {}  \n".format("n" * 32, "o" * 64), encoding="ascii")
    assert configuration.load_keys(str(path)) == (b"n" * 32, b"o" * 64)


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"", "holds no key"),
        (b" \n\n", "holds no key"),
        (b"k" * 31, "line 1 is too short: 31 of at least 32"),
        (b"k" * 32 + b"\nsecret", "line 2 is too short: 6 of at least 32"),
        (b"\xc3\xa9" * 32, "characters outside ASCII"),
    ],
)
def test_keys_refused_without_showing_them(tmp_path, content, problem):
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        configuration.load_keys(str(path))
    assert (caught.value.key, caught.value.value) == ("key_file", str(path))
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value) and "kkk" not in str(caught.value)
    assert caught.value.remedy


def test_keys_absent(tmp_path):
    with pytest.raises(ConfigError, match="key_file: cannot be read.*mode 0400"):
        configuration.load_keys(str(tmp_path / "absent"))


def test_the_interface_must_be_there(tmp_path):
    for name in ("eth0", "lo"):
        (tmp_path / name).mkdir()
    config = configuration.parse(LEAST)
    with pytest.raises(ConfigError, match="no such interface.*got 'ens5'.*choose one of: eth0, lo"):
        configuration.check_interface(config, str(tmp_path))
    (tmp_path / "ens5").mkdir()
    configuration.check_interface(config, str(tmp_path))
    with pytest.raises(ConfigError, match="choose one of: none"):
        configuration.check_interface(config, str(tmp_path / "absent"))


def test_a_witness_owns_nothing_proves_nothing_and_has_no_rank():
    raw = having()
    raw["nodes"].append({"name": "arbiter", "instance_id": "i-0cccccccccccccccc", "witness": True})
    config = configuration.parse(raw)
    assert config.witnesses == {"arbiter"} and {claim.home for claim in config.claims} == {"nat-a", "nat-b"}
    assert (config.rank("nat-a"), config.rank("nat-b")) == (0, 1)
    raw["witness"] = {"dynamodb_table": "nat"}
    assert config.canary.enabled and configuration.parse(raw).witness.table == "nat"
    watching = configuration.parse({**raw, "self": "arbiter"})
    assert not watching.canary.enabled and watching.witness.table is None, "it writes nothing, so it needs no table"


def test_the_digest_tells_one_pair_of_files_from_another(tmp_path):
    config, key, other = tmp_path / "config.json", tmp_path / "key", tmp_path / "other"
    config.write_text(json.dumps({**LEAST, "key_file": str(key)}))
    key.write_text("k" * 32 + "\n")
    other.write_text("o" * 32 + "\n")
    loaded = configuration.load_all(str(config))
    assert loaded.config == configuration.load(str(config)) and loaded.keys == (b"k" * 32,)
    assert loaded.digest == configuration.digest(config.read_bytes(), key.read_bytes())
    stand_in = configuration.load_all(str(config), str(other))
    assert stand_in.keys == (b"o" * 32,) and stand_in.digest != loaded.digest
    assert "kkk" not in loaded.digest
    # A part that moves from one file to the other makes another pair.
    assert configuration.digest(b"ab", b"c") != configuration.digest(b"a", b"bc")


def test_a_file_that_only_root_may_read_asks_for_sudo(tmp_path, monkeypatch):
    def refuse(*_where, **_how):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    for read in (configuration.load, configuration.load_keys):
        with pytest.raises(ConfigError, match="permission denied .*; run this with sudo, or as a member of the group"):
            read("/etc/nat-failover/config.json")
