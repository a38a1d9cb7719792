# SPDX-License-Identifier: GPL-3.0-or-later
"""This host's rules and files: compared, put in place and removed without touching anybody else's."""

from __future__ import annotations

import socket

import pytest

from nat_failover import system
from nat_failover.errors import NatFailoverError

SOURCES = ("10.0.0.0/16", "172.31.0.0/16")
THEIRS = {"nat": ["-A POSTROUTING -s 192.168.0.0/16 -j MASQUERADE"], "filter": ["-A FORWARD -j DOCKER-USER"]}


class Tables:
    """A runner that is iptables: keeps rules per table as iptables-save prints them."""

    def __init__(self):
        self.chains = {"nat": ["POSTROUTING"], "filter": ["FORWARD"]}
        self.rules = {table: list(lines) for table, lines in THEIRS.items()}
        self.spawned = []
        self.failure = None

    def __call__(self, argv, *, timeout, stdin=""):
        assert 0 < timeout < 60
        self.spawned.append(argv[0])
        if self.failure:
            return self.failure
        if argv[0] == "iptables-save":
            return 0, self._saved(argv[2]), ""
        if argv[0] == "iptables-restore":
            assert "--noflush" in argv, "without it everybody's rules would go"
            self._restore(stdin)
        else:
            self._change(argv[argv.index("-t") + 1], *argv[argv.index("-t") + 2 :])
        return 0, "", ""

    def _saved(self, table):
        head = ["# Generated", "*%s" % table, *(":%s ACCEPT [12:345]" % chain for chain in self.chains[table])]
        return "\n".join([*head, *self.rules[table], "COMMIT", "# Completed", ""])

    def _restore(self, script):
        lines = script.splitlines()
        table = lines[0][1:]
        assert lines[-1] == "COMMIT" and script.endswith("\n")
        for line in lines[1:-1]:
            words = line.split()
            if line.startswith(":"):
                chain = words[0][1:]
                self.rules[table] = [rule for rule in self.rules[table] if not rule.startswith("-A %s " % chain)]
                self.chains[table] = [*(each for each in self.chains[table] if each != chain), chain]
            elif words[0] == "-I":
                self.rules[table].insert(int(words[2]) - 1, " ".join(["-A", words[1], *words[3:]]))
            else:
                self.rules[table].append(line)

    def _change(self, table, verb, chain, *rest):
        if verb == "-D":
            self.rules[table].remove(" ".join(["-A", chain, *rest]))
        elif verb == "-F":
            self.rules[table] = [rule for rule in self.rules[table] if not rule.startswith("-A %s " % chain)]
        else:
            assert verb == "-X"
            assert not any(chain in rule for rule in self.rules[table]), "iptables refuses to remove a chain in use"
            self.chains[table].remove(chain)


@pytest.fixture
def tables():
    return Tables()


def apply(tables):
    return system.apply_rules(SOURCES, "ens5", tables)


def missing(tables):
    return system.missing_rules(SOURCES, "ens5", tables)


def test_rules_are_complete_after_one_apply_and_a_second_changes_nothing(tables):
    assert missing(tables) == "iptables -t nat: no jump from POSTROUTING to NAT-FAILOVER-POSTROUTING"
    assert apply(tables)
    assert missing(tables) == ""
    tables.spawned.clear()
    assert not apply(tables)
    assert set(tables.spawned) == {"iptables-save"}


def test_others_keep_their_rules_and_our_jump_comes_before_their_drop(tables):
    apply(tables)
    assert tables.rules["nat"][0] == THEIRS["nat"][0]
    assert [rule for rule in tables.rules["filter"] if rule.startswith("-A FORWARD ")] == [
        "-A FORWARD -j NAT-FAILOVER-FORWARD",
        *THEIRS["filter"],
    ]


def test_removing_leaves_the_others_and_nothing_of_ours(tables):
    apply(tables)
    assert system.remove_rules(tables)
    assert tables.rules == THEIRS
    assert tables.chains == {"nat": ["POSTROUTING"], "filter": ["FORWARD"]}
    assert not system.remove_rules(tables)


@pytest.mark.parametrize("table", ["nat", "filter"])
def test_each_single_rule_is_missed_and_mended(tables, table):
    apply(tables)
    complete = list(tables.rules[table])
    for rule in (rule for rule in complete if rule not in THEIRS[table]):
        tables.rules[table] = [each for each in complete if each != rule]
        assert missing(tables).startswith("iptables -t %s: no " % table), rule
        assert apply(tables)
        assert missing(tables) == ""
        assert sorted(tables.rules[table]) == sorted(complete), "nothing is there twice"


def test_a_foreign_rule_in_our_chain_is_found_and_removed(tables):
    apply(tables)
    tables.rules["filter"].insert(1, "-A NAT-FAILOVER-FORWARD -j DROP")
    assert missing(tables) == "iptables -t filter: rules in NAT-FAILOVER-FORWARD that are not ours, or in another order"
    assert apply(tables)
    assert "-A NAT-FAILOVER-FORWARD -j DROP" not in tables.rules["filter"]


def test_another_interface_or_source_is_not_the_same(tables):
    apply(tables)
    assert "-o ens6" in system.missing_rules(SOURCES, "ens6", tables)
    assert "10.9.0.0/16" in system.missing_rules(("10.9.0.0/16",), "ens5", tables)


def test_rules_leave_traffic_between_the_sources_alone_and_reset_unknown_flows():
    rules = system.rules(("10.0.0.0/16",), "ens5")
    assert [rule.split(" ", 2)[2] for rule in rules["nat"]] == [
        "-d 10.0.0.0/16 -j RETURN",
        "-s 10.0.0.0/16 -o ens5 -j MASQUERADE",
    ]
    reset, accept = rules["filter"][-2:]
    assert "--ctstate NEW -j REJECT --reject-with tcp-reset" in reset and "! --tcp-flags" in reset
    assert accept.endswith("-s 10.0.0.0/16 -o ens5 -j ACCEPT")


@pytest.mark.parametrize("call", [apply, missing, system.remove_rules], ids=["apply", "missing", "remove"])
@pytest.mark.parametrize(
    "failure",
    [
        (4, "", "Another app is currently\nholding the xtables lock"),
        (127, "", "iptables-save: No such file"),
        (124, "", "no end"),
    ],
)
def test_a_failing_command_is_one_line_with_a_remedy(tables, call, failure):
    tables.failure = failure
    with pytest.raises(NatFailoverError) as caught:
        call(tables)
    text = str(caught.value)
    assert "iptables-save failed (%d)" % failure[0] in text and "CAP_NET_ADMIN" in text and "\n" not in text


# --- the kernel's files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    def writing(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="ascii")
        return str(tmp_path)

    return writing


def test_sysctl(write):
    proc = write("sys/net/ipv4/ip_forward", "1\n")
    assert system.read_sysctl("net.ipv4.ip_forward", proc) == "1"
    assert system.read_sysctl("net.ipv4.nothing", proc) == ""


@pytest.mark.parametrize(
    ("flags", "state", "problem"),
    [
        ("0x1003", "up", ""),
        ("0x1003", "unknown", ""),
        ("0x1002", "down", "interface ens5 is down"),
        ("0x1003", "lowerlayerdown", "interface ens5 is lowerlayerdown"),
        ("0x1003", "", "interface ens5 is gone"),
    ],
)
def test_interface(write, flags, state, problem):
    write("ens5/operstate", state + "\n")
    assert system.interface_problem("ens5", write("ens5/flags", flags + "\n")) == problem


def test_no_interface(tmp_path):
    assert system.interface_problem("ens5", str(tmp_path)) == "there is no interface ens5"


def test_default_routes(write):
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    rows = [
        "ens5\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n",
        "ens5\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n",
        "ens6\t00000000\t0100010A\t0003\t0\t0\t200\t00000080\t0\t0\t0\n",  # 0.0.0.0/1 is no default route
    ]
    assert system.default_routes(write("net/route", head + "".join(rows))) == ["ens5"]
    assert system.default_routes(write("net/route", head)) == []


def test_default_routes_unreadable(tmp_path):
    assert system.default_routes(str(tmp_path)) == []


def test_conntrack_fill(write, tmp_path):
    assert system.conntrack_fill(str(tmp_path)) == 0.0
    write("sys/net/netfilter/nf_conntrack_count", "49\n")
    assert system.conntrack_fill(str(tmp_path)) == 0.0
    assert system.conntrack_fill(write("sys/net/netfilter/nf_conntrack_max", "100\n")) == 0.49
    assert system.conntrack_fill(write("sys/net/netfilter/nf_conntrack_max", "0\n")) == 0.0


def test_notify(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    system.sd_notify("READY=1")
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        system.sd_notify("READY=1")
        assert server.recv(100) == b"READY=1"
    system.sd_notify("WATCHDOG=1")  # nobody listens any more: the watchdog will tell
