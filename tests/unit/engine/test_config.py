# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration: each refusal names the key, its value and the remedy; everything left out has its documented default."""

from __future__ import annotations

import json

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import ConfigError
from nat_failover.model import settings
from nat_failover.model.cluster import Claim
from nat_failover.model.nat import Nat
from nat_failover.model.settings import Target

from .config_case import DUAL, GONE, LEAST, TABLE_A, having, refusal


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
    assert config.nat == Nat(("10.0.0.0/16", "2001:db8:0:100::/56", "fd00:1::/48"), "ens5", mode)
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
