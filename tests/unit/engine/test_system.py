# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's rules and files, on a pretended iptables and temporary folders. The real ones are tried in the lab."""

from __future__ import annotations

import socket

import pytest

from nat_failover import system
from nat_failover.errors import NatFailoverError

SOURCES = ["10.0.0.0/16", "172.16.0.0/12"]


class Iptables:
    """Keeps rules as iptables-save prints them."""

    def __init__(self):
        self.tables = {"nat": {"POSTROUTING": []}, "filter": {"FORWARD": ["-A FORWARD -s 192.0.2.1/32 -j DROP"]}}
        self.ran = []
        self.broken = ""

    def __call__(self, argv, *, timeout, stdin=""):
        self.ran.append(argv[0])
        if self.broken:
            return 4, "", self.broken
        if argv[0] == "iptables-save":
            chains = self.tables[argv[2]]
            heads = [":%s ACCEPT [0:0]" % chain for chain in chains]
            return (
                0,
                "\n".join(["*" + argv[2], *heads, *(rule for rules in chains.values() for rule in rules), "COMMIT"]),
                "",
            )
        if argv[0] == "iptables-restore":
            assert "--noflush" in argv, "rules of others must stay"
            self._restore(stdin.splitlines())
            return 0, "", ""
        return self._command(argv[argv.index("-t") + 1 :])

    def _restore(self, lines):
        chains = self.tables[lines[0][1:]]
        for line in lines[1:]:
            if line.startswith(":"):
                chains[line[1:].split()[0]] = []
            elif line.startswith("-A "):
                chains[line.split()[1]].append(line)
            elif line.startswith("-I "):
                _insert, chain, _position, *rest = line.split()
                chains[chain].insert(0, " ".join(["-A", chain, *rest]))

    def _command(self, words):
        chains, verb, chain = self.tables[words[0]], words[1], words[2]
        if verb == "-D":
            chains[chain].remove(" ".join(["-A", chain, *words[3:]]))
        elif verb == "-F":
            chains[chain] = []
        elif verb == "-X":
            del chains[chain]
        return 0, "", ""


@pytest.fixture
def iptables():
    return Iptables()


def test_applied_once_and_then_left_alone(iptables):
    assert "no jump from POSTROUTING" in system.missing_rules(SOURCES, "ens5", iptables)
    assert system.apply_rules(SOURCES, "ens5", iptables) is True
    assert system.missing_rules(SOURCES, "ens5", iptables) == ""
    assert system.apply_rules(SOURCES, "ens5", iptables) is False
    assert iptables.ran.count("iptables-restore") == 2, "one a table"


def test_masquerade_is_for_the_sources_going_out_and_not_among_them(iptables):
    rules = system.rules(SOURCES, "ens5")["nat"]
    assert rules[0] == "-A NAT-FAILOVER-POSTROUTING -d 10.0.0.0/16 -j RETURN"
    assert rules[-1] == "-A NAT-FAILOVER-POSTROUTING -s 172.16.0.0/12 -o ens5 -j MASQUERADE"


def test_our_jump_comes_before_a_drop_of_others_and_theirs_stays(iptables):
    system.apply_rules(SOURCES, "ens5", iptables)
    assert iptables.tables["filter"]["FORWARD"] == [
        "-A FORWARD -j NAT-FAILOVER-FORWARD",
        "-A FORWARD -s 192.0.2.1/32 -j DROP",
    ]


def test_ipv6_sources_are_not_for_iptables():
    assert "fd00" not in str(system.rules(["10.0.0.0/16", "fd00::/8"], "ens5"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t["nat"]["POSTROUTING"].clear(), "no jump from POSTROUTING"),
        (lambda t: t["filter"]["FORWARD"].pop(0), "no jump from FORWARD"),
        (
            lambda t: t["nat"]["NAT-FAILOVER-POSTROUTING"].pop(),
            "no rule -A NAT-FAILOVER-POSTROUTING -s 172.16.0.0/12 -o ens5 -j MASQUERADE",
        ),
        (lambda t: t["nat"]["NAT-FAILOVER-POSTROUTING"].reverse(), "another order"),
        (lambda t: t["filter"]["NAT-FAILOVER-FORWARD"].append("-A NAT-FAILOVER-FORWARD -j DROP"), "not ours"),
    ],
)
def test_whatever_is_missing_is_named_and_mended(iptables, spoil, words):
    system.apply_rules(SOURCES, "ens5", iptables)
    spoil(iptables.tables)
    assert words in system.missing_rules(SOURCES, "ens5", iptables)
    assert system.apply_rules(SOURCES, "ens5", iptables) is True
    assert system.missing_rules(SOURCES, "ens5", iptables) == ""


def test_another_interface_is_another_set_of_rules(iptables):
    system.apply_rules(SOURCES, "eth0", iptables)
    assert "ens5" in system.missing_rules(SOURCES, "ens5", iptables)


def test_removed_without_a_trace_and_without_touching_others(iptables):
    system.apply_rules(SOURCES, "ens5", iptables)
    assert system.remove_rules(iptables) is True
    assert iptables.tables == Iptables().tables
    assert system.remove_rules(iptables) is False


def test_a_failing_iptables_is_one_error_with_a_remedy(iptables):
    iptables.broken = "Permission denied (you must be root)\n"
    with pytest.raises(NatFailoverError, match=r"iptables-save failed \(4\): Permission denied .*CAP_NET_ADMIN"):
        system.missing_rules(SOURCES, "ens5", iptables)


# --- files -----------------------------------------------------------------------------------------------------------------------


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_sysctls(tmp_path):
    write(tmp_path / "sys/net/ipv4/ip_forward", "1\n")
    assert system.read_sysctl("net.ipv4.ip_forward", str(tmp_path)) == "1"
    assert system.read_sysctl("net.ipv4.nothing", str(tmp_path)) == ""


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
    assert system.interface_problem("ens5", str(tmp_path)) == problem


def test_default_routes(tmp_path):
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    rows = [("ens5", "00000000", "0100000A", "00000000"), ("ens6", "0000000A", "00000000", "0000FFFF")]
    lines = ["\t".join([i, d, g, "0003", "0", "0", "0", m, "0", "0", "0"]) for i, d, g, m in rows]
    write(tmp_path / "net/route", head + "\n".join(lines) + "\n")
    assert system.default_routes(str(tmp_path)) == ["ens5"]
    assert system.default_routes(str(tmp_path / "nowhere")) == []


@pytest.mark.parametrize(("count", "most", "fill"), [("50", "200", 0.25), ("", "", 0.0), ("5", "0", 0.0)])
def test_conntrack_fill(tmp_path, count, most, fill):
    write(tmp_path / "sys/net/netfilter/nf_conntrack_count", count)
    write(tmp_path / "sys/net/netfilter/nf_conntrack_max", most)
    assert system.conntrack_fill(str(tmp_path)) == fill


# --- systemd ---------------------------------------------------------------------------------------------------------------------


def test_sd_notify(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    system.sd_notify("READY=1")  # nobody to tell
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        system.sd_notify("READY=1\nSTATUS=fine")
        assert server.recv(100) == b"READY=1\nSTATUS=fine"
    system.sd_notify("WATCHDOG=1")  # systemd has gone: no reason to fail
