# SPDX-License-Identifier: GPL-3.0-or-later
"""Synchronised connections: the configuration, the file of conntrackd, and the orders of the root helper."""

from __future__ import annotations

import types
from dataclasses import replace

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import ConfigError
from nat_failover.host import conntrackd_conf, repair_helper, wanted_rules
from nat_failover.model.nat import Identity, Nat
from nat_failover.model.sync import SyncReading

from .test_address_map import listed
from .test_egress_config import WATCHER, having

A = Identity("nat-a", "10.0.1.21", ("10.0.10.0/24",), synced="10.0.0.20")
B = Identity("nat-b", "10.0.1.20", ("10.0.11.0/24",))
PEER_NODE = types.SimpleNamespace(name="nat-a", address="10.0.0.10", witness=False, waiting={"nat-b": "10.0.0.21"})
CONFIG = types.SimpleNamespace(
    state_sync="conntrackd",
    nat=Nat(("10.0.0.0/16",), "ens5", identities=(B, A)),
    peers=(PEER_NODE,),
    key_file="/etc/nat-failover/heartbeat.key",
)
SHOWN = """\
cache internal:
current active connections:\t         {cached}
connections created:\t\t           3\tfailed:\t           0

external inject:
connections created:\t\t           9\tfailed:\t           2
connections updated:\t\t           0\tfailed:\t           5

UDP traffic (active device=ens5):
                  11 Bytes sent                 1200 Bytes recv
                   1 Pckts sent                    2 Pckts recv

message tracking:
                   0 Malformed msgs                    4 Lost msgs

"""


# --- the configuration ----------------------------------------------------------------------------


def test_without_it_nothing_is_synchronised_and_with_it_only_identities_of_others():
    assert not configuration.parse(having()).nat.synced
    config = configuration.parse(having(state_sync="conntrackd"))
    assert [(each.name, each.address, each.source) for each in config.nat.identities] == [
        ("nat-a", "10.0.0.20", "10.0.0.20"),
        ("nat-b", "10.0.0.21", "10.0.1.20"),
    ]
    assert configuration.parse(having(None, None, WATCHER, state_sync="conntrackd")).state_sync == "conntrackd"


THIRD = {"name": "nat-c", "instance_id": "i-0dddddddddddddddd", "address": "10.0.2.10"}
NOBODY = {"egress_waiting": {}}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (having(state_sync="pfsync"), "state_sync: is unknown (got 'pfsync'); write conntrackd, or leave it out"),
        (having(NOBODY, NOBODY, state_sync="conntrackd"), "no node waits for the identity of another one"),
        (having(None, None, THIRD, state_sync="conntrackd"), "synchronises two nodes, and there are 3; leave it out"),
        (having({"address": ""}, state_sync="conntrackd"), "nodes[0].address"),
        (having(state_sync="conntrackd", acceleration={"flowtable": True}), "cannot be rewritten; leave one of"),
    ],
)
def test_a_configuration_that_cannot_work_is_one_clear_error(raw, words):
    with pytest.raises(ConfigError) as caught:
        configuration.parse(raw)
    assert words in str(caught.value).replace(" (got 'conntrackd')", "")
    assert "\n" not in str(caught.value)


def test_the_file_of_conntrackd_names_both_nodes_and_the_clients_alone():
    text = conntrackd_conf.text("10.0.0.10", "10.0.1.10", "ens5", ["10.0.11.0/24", "10.0.10.0/24"], 65536)
    lines = [line.strip() for line in text.splitlines()]
    assert "IPv4_address 10.0.0.10" in lines and "IPv4_Destination_Address 10.0.1.10" in lines
    accepted = lines[lines.index("Address Accept {") + 1 :]
    assert accepted[:3] == ["IPv4_address 10.0.10.0/24", "IPv4_address 10.0.11.0/24", "}"]
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("command", ["iptables", "ip6tables"])
def test_the_port_is_open_to_the_peer_alone_and_before_all_other_openings(command):
    nat = configuration.parse(having(state_sync="conntrackd", input={"allow": []})).nat
    lines = wanted_rules.rules(replace(nat, sources=(*nat.sources, "2001:db8::/56")), command)[wanted_rules.INPUT]
    rules = [line for line in lines if "--dport 3780" in line]
    packet = "-i ens5 -p udp -m udp --dport 3780"
    wanted = [f"-s 10.0.1.10/32 {packet} -j RETURN", f"{packet} -j DROP"]
    assert rules == [f"-A {wanted_rules.INPUT.name} {each}" for each in wanted if command == "iptables"]
    assert not any("3780" in line for line in wanted_rules.rules(configuration.parse(having()).nat)[wanted_rules.INPUT])


# --- the helper -----------------------------------------------------------------------------------


class Commands:
    """The commands conntrackd and conntrack. ``cache``: the internal cache."""

    def __init__(self, cache="", absent=False):
        self.ran, self.files, self.cache, self.absent = [], set(), cache, absent
        self.table = listed(CONFIG.nat)

    def __call__(self, argv, *, timeout, stdin=""):
        if argv[0] == "nft":
            return self.table(argv, timeout=timeout)
        words = " ".join(argv[3:] if argv[0] == "conntrackd" else argv)
        self.ran.append(words)
        self.files |= {argv[2]} if argv[0] == "conntrackd" else set()
        if self.absent:
            return 1, "", "[Mon Nov 30 06:33:07 2026] (pid=2375) [ERROR] can't connect: is conntrackd running?\n"
        if argv[0] == "conntrack":
            return (0, "tcp\nudp\n", "") if "-L" in argv else (1, "", "0 flow entries have been deleted.")
        return 0, {"-s": SHOWN.format(cached=7), "-i": self.cache}.get(words, ""), ""

    @property
    def orders(self):
        return [each for each in self.ran if each not in ("-s", "-i") and " -L " not in each]


def cached(*addresses):
    return "".join(f"tcp 6 ESTABLISHED src=192.0.2.1 dst={each} sport=1 dport=2 [ASSURED]\n" for each in addresses)


ENDED_ALWAYS = ["conntrack -D -q 10.0.0.10", "conntrack -D -q 10.0.0.21"]  # the peer's own, which cannot go on here


def test_flows_that_came_from_the_peer_are_this_nodes_own_after_a_takeover():
    commands = Commands(cached("10.0.1.20", "10.0.1.20"))
    assert repair_helper.answer("sync arrange nat-a=here nat-b=here", CONFIG, commands) == "mended"
    assert commands.orders == ["-f internal", *ENDED_ALWAYS, "-f internal", "-R"]
    assert commands.files == {"/etc/nat-failover/conntrackd.conf"}


def test_an_identity_that_has_left_is_out_of_the_cache_before_its_flows_end_and_the_peer_is_asked_last():
    commands = Commands(cached("10.0.1.20", "10.0.0.20", "10.0.1.20"))
    assert repair_helper.answer("sync arrange nat-a=away nat-b=here", CONFIG, commands) == "mended"
    gone = ["conntrack -D -q 10.0.0.20", "conntrack -D -q 10.0.1.21"]
    assert commands.orders == ["-f internal", *gone, *ENDED_ALWAYS, "-f internal", "-R", "-n"]


def test_at_rest_nothing_is_changed():
    commands = Commands(cached("10.0.1.20", "10.0.1.20"))
    assert repair_helper.answer("sync arrange nat-a=away nat-b=here", CONFIG, commands) == "nothing to mend"
    assert commands.orders == ENDED_ALWAYS


def test_a_copy_of_a_flow_of_the_peer_itself_does_not_end_there():
    commands = Commands(cached("10.0.1.20", "10.0.1.20", "10.0.0.10"))
    assert repair_helper.answer("sync arrange nat-a=away nat-b=here", CONFIG, commands) == "mended"
    assert commands.orders[0] == "-f internal"


def test_an_identity_whose_elastic_ip_does_not_follow_ends():
    commands = Commands(cached("10.0.1.20", "10.0.1.20"))
    repair_helper.answer("sync arrange nat-a=ended nat-b=here", CONFIG, commands)
    assert commands.orders == [*ENDED_ALWAYS, "conntrack -D -q 10.0.0.20"]


def test_copies_whose_address_the_kernel_does_not_rewrite_begin_anew():
    commands = Commands(cached("10.0.1.20", "10.0.1.20"))
    commands.table = listed(CONFIG.nat.unsynced())  # no table
    repair_helper.answer("sync arrange nat-a=here nat-b=here", CONFIG, commands)
    assert commands.orders == [*ENDED_ALWAYS, "conntrack -D -q 10.0.0.20"]


def test_an_identity_without_a_place_stays_as_it_is():
    commands = Commands()
    repair_helper.answer("sync arrange nat-b=here", CONFIG, commands)
    assert not any("10.0.0.20" in each or "10.0.1.21" in each for each in commands.orders)


def test_a_reading_is_a_line_that_the_service_understands():
    line = repair_helper.answer("sync check nat-a", CONFIG, Commands())
    assert SyncReading.of(line) == SyncReading("", 1200, 4, 2, 7, {"nat-a": 2})
    line = repair_helper.answer("sync check", CONFIG, Commands(absent=True))
    assert SyncReading.of(line).problem == (
        "conntrackd -s failed (1): can't connect: is conntrackd running?; is nat-failover-sync.service running?"
    )
    assert SyncReading.of("failed: no").problem == "failed: no"
    assert "'sync nonsense'" in SyncReading.of("sync nonsense").problem
    assert SyncReading.of("").problem == "the root helper gave no answer"


@pytest.mark.parametrize(
    "word",
    [
        *("sync", "sync ", "sync arrange", "sync flush nat-a", "sync push now", "sync check nat-x"),
        *(
            "sync arrange nat-a",
            "sync arrange nat-x=here",
            "sync arrange nat-a=gone",
            "sync arrange nat-a=here; reboot",
        ),
    ],
)
def test_the_helper_takes_no_other_order(word):
    commands = Commands()
    line = repair_helper.answer(word, CONFIG, commands)
    assert line.startswith("failed: ") and "\n" not in line and commands.orders == []


def test_without_the_setting_there_is_no_order():
    without = types.SimpleNamespace(state_sync="", nat=CONFIG.nat, peers=(), key_file="/k")
    line = repair_helper.answer("sync push", without, lambda *_args, **_more: pytest.fail("it ran something"))
    assert line.startswith("failed: state_sync is not configured")
