# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's rules and files, on a pretended iptables and temporary folders. The real ones are tried in the lab."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import kernel as system
from nat_failover.model.settings import Nat

NAT = Nat(("10.0.0.0/16", "172.16.0.0/12"), "ens5")
BOTH = Nat(("10.0.0.0/16", "fd00:1::/48", "2001:db8::/56"), "ens5")
ROUTED = replace(BOTH, ipv6="forward")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"iptables-save": "v1.8.9 (nf_tables)", "ip6tables-save": "v1.8.9 (nf_tables)"}, True),
        ({"iptables-save": "v1.8.9 (nf_tables)"}, True),
        ({"iptables-save": "v1.8.4 (legacy)", "ip6tables-save": "v1.8.4 (legacy)"}, False),
        ({"iptables-save": "v1.8.9 (nf_tables)", "ip6tables-save": "v1.8.9 (legacy)"}, False),
        ({"iptables-save": "v1.4.21"}, False),
        ({}, False),
    ],
)
def test_only_nf_tables_tells_of_changes(said, told):
    def runner(argv, *, timeout):
        assert argv[1:] == ["--version"]
        return (0, "%s %s\n" % (argv[0], said[argv[0]]), "") if argv[0] in said else (127, "", "not there")

    assert system.rules_in_nftables(runner) is told


class Iptables:
    """Keeps the rules of both families as iptables-save and ip6tables-save print them."""

    def __init__(self):
        self.families = {
            family: {
                "nat": {"POSTROUTING": []},
                "filter": {"FORWARD": ["-A FORWARD -s %s -j DROP" % stranger]},
                "mangle": {"FORWARD": ["-A FORWARD -j MARK"]},
            }
            for family, stranger in (("iptables", "192.0.2.1/32"), ("ip6tables", "2001:db8:ff::1/128"))
        }
        self.ran = []
        self.broken = ""
        self.lacking = ()  # commands that are not installed

    @property
    def tables(self):
        return self.families["iptables"]

    @property
    def tables6(self):
        return self.families["ip6tables"]

    def __call__(self, argv, *, timeout, stdin=""):
        self.ran.append(argv[0])
        if self.broken:
            return 4, "", self.broken
        if argv[0] in self.lacking:
            return 127, "", "%s: No such file or directory" % argv[0]
        family, _dash, what = argv[0].partition("-")
        if what == "save":
            chains = self.families[family][argv[2]]
            heads = [":%s ACCEPT [0:0]" % chain for chain in chains]
            return (
                0,
                "\n".join(["*" + argv[2], *heads, *(rule for rules in chains.values() for rule in rules), "COMMIT"]),
                "",
            )
        if what == "restore":
            assert "--noflush" in argv, "rules of others must stay"
            self._restore(self.families[family], stdin.splitlines())
            return 0, "", ""
        return self._command(self.families[family], argv[argv.index("-t") + 1 :])

    @staticmethod
    def _restore(tables, lines):
        chains = tables[lines[0][1:]]
        for line in lines[1:]:
            if line.startswith(":"):
                chains[line[1:].split()[0]] = []
            elif line.startswith("-A "):
                chains[line.split()[1]].append(line)
            elif line.startswith("-I "):
                _insert, chain, _position, *rest = line.split()
                chains[chain].insert(0, " ".join(["-A", chain, *rest]))

    @staticmethod
    def _command(tables, words):
        chains, verb, chain = tables[words[0]], words[1], words[2]
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
    assert "no jump from POSTROUTING" in system.missing_rules(NAT, iptables)
    assert system.apply_rules(NAT, iptables) is True
    assert system.missing_rules(NAT, iptables) == ""
    assert system.apply_rules(NAT, iptables) is False
    assert iptables.ran.count("iptables-restore") == 2, "one a table"


def test_masquerade_is_for_the_sources_going_out_and_not_among_them(iptables):
    rules = system.rules(NAT)["nat"]
    assert rules[0] == "-A NAT-FAILOVER-POSTROUTING -d 10.0.0.0/16 -j RETURN"
    assert rules[-1] == "-A NAT-FAILOVER-POSTROUTING -s 172.16.0.0/12 -o ens5 -j MASQUERADE"


def test_our_jump_comes_before_a_drop_of_others_and_theirs_stays(iptables):
    system.apply_rules(NAT, iptables)
    assert iptables.tables["filter"]["FORWARD"] == [
        "-A FORWARD -j NAT-FAILOVER-FORWARD",
        "-A FORWARD -s 192.0.2.1/32 -j DROP",
    ]


def test_segments_are_clamped_on_both_ways_only_when_asked_for(iptables):
    system.apply_rules(NAT, iptables)
    assert iptables.tables["mangle"] == Iptables().tables["mangle"]
    clamped = replace(NAT, clamp_mss="1360")
    assert system.apply_rules(clamped, iptables) is True
    assert system.apply_rules(clamped, iptables) is False
    assert iptables.tables["mangle"]["NAT-FAILOVER-MSS"][:2] == [
        "-A NAT-FAILOVER-MSS -s 10.0.0.0/16 -o ens5 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1360",
        "-A NAT-FAILOVER-MSS -d 10.0.0.0/16 -i ens5 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1360",
    ]
    assert iptables.tables["mangle"]["FORWARD"][0] == "-A FORWARD -j NAT-FAILOVER-MSS"
    assert "no rule" in system.missing_rules(replace(NAT, clamp_mss="pmtu"), iptables)
    assert "NAT-FAILOVER-MSS is not asked for any more" in system.left_over_rules(NAT, iptables)
    assert system.apply_rules(NAT, iptables) is True
    assert iptables.tables["mangle"] == Iptables().tables["mangle"], "no trace, and somebody else's rule is still there"


def test_each_family_has_its_own_rules():
    assert ":" not in str([rule for rules in system.rules(BOTH).values() for rule in rules])
    assert system.rules(BOTH) == system.rules(replace(NAT, sources=("10.0.0.0/16",)))
    six = system.rules(BOTH, "ip6tables")
    assert six["nat"] == (
        "-A NAT-FAILOVER-POSTROUTING -d fd00:1::/48 -j RETURN",
        "-A NAT-FAILOVER-POSTROUTING -d 2001:db8::/56 -j RETURN",
        "-A NAT-FAILOVER-POSTROUTING -s fd00:1::/48 -o ens5 -j MASQUERADE",
        "-A NAT-FAILOVER-POSTROUTING -s 2001:db8::/56 -o ens5 -j MASQUERADE",
    )
    assert [rule.replace("fd00:1::/48", "10.0.0.0/16") for rule in six["filter"] if "2001" not in rule] == list(
        system.rules(BOTH)["filter"]
    ), "the same for both families"


def test_what_is_only_forwarded_keeps_its_address_and_its_flows():
    six = system.rules(ROUTED, "ip6tables")
    assert six["nat"] == ()
    assert "-A NAT-FAILOVER-FORWARD -s 2001:db8::/56 -o ens5 -j ACCEPT" in six["filter"]
    assert "REJECT" not in str(six), "a flow of the other node goes on here"
    assert system.rules(ROUTED) == system.rules(BOTH), "IPv4 is masqueraded all the same"


@pytest.mark.parametrize("nat", [BOTH, ROUTED], ids=["masquerade", "forward"])
def test_both_families_are_applied_once_and_looked_at(iptables, nat):
    assert system.apply_rules(nat, iptables) is True
    assert system.apply_rules(nat, iptables) is False
    assert system.missing_rules(nat, iptables) == system.left_over_rules(nat, iptables) == ""
    assert iptables.tables6["filter"]["FORWARD"][0] == "-A FORWARD -j NAT-FAILOVER-FORWARD"
    iptables.tables6["filter"]["FORWARD"].pop(0)
    assert system.missing_rules(nat, iptables) == "ip6tables -t filter: no jump from FORWARD to NAT-FAILOVER-FORWARD"
    assert system.apply_rules(nat, iptables) is True
    assert system.missing_rules(nat, iptables) == ""


def test_looking_costs_nothing_for_a_family_without_sources(iptables):
    system.apply_rules(NAT, iptables)
    iptables.ran.clear()
    assert system.missing_rules(NAT, iptables) == ""
    assert iptables.ran == ["iptables-save"] * 2


@pytest.mark.parametrize(("before", "after"), [(BOTH, NAT), (BOTH, ROUTED), (ROUTED, NAT)])
def test_what_is_not_asked_for_any_more_is_seen_and_goes(iptables, before, after):
    system.apply_rules(before, iptables)
    assert "is not asked for any more" in system.left_over_rules(after, iptables)
    assert system.apply_rules(after, iptables) is True
    assert system.left_over_rules(after, iptables) == ""
    other = Iptables()
    system.apply_rules(after, other)
    assert iptables.families == other.families


def test_without_ip6tables_ipv4_works_and_ipv6_is_an_error(iptables):
    iptables.lacking = ("ip6tables", "ip6tables-save", "ip6tables-restore")
    assert system.apply_rules(NAT, iptables) is True
    assert system.left_over_rules(NAT, iptables) == ""
    with pytest.raises(NatFailoverError, match=r"ip6tables-save failed \(127\)"):
        system.apply_rules(BOTH, iptables)
    assert system.remove_rules(iptables) is True


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
    system.apply_rules(NAT, iptables)
    spoil(iptables.tables)
    assert words in system.missing_rules(NAT, iptables)
    assert system.apply_rules(NAT, iptables) is True
    assert system.missing_rules(NAT, iptables) == ""


def test_another_interface_is_another_set_of_rules(iptables):
    system.apply_rules(replace(NAT, interface="eth0"), iptables)
    assert "ens5" in system.missing_rules(NAT, iptables)


@pytest.mark.parametrize("nat", [NAT, BOTH])
def test_removed_without_a_trace_and_without_touching_others(iptables, nat):
    system.apply_rules(nat, iptables)
    assert system.remove_rules(iptables) is True
    assert iptables.families == Iptables().families
    assert system.remove_rules(iptables) is False


def test_a_failing_iptables_is_one_error_with_a_remedy(iptables):
    iptables.broken = "Permission denied (you must be root)\n"
    with pytest.raises(NatFailoverError, match=r"iptables-save failed \(4\): Permission denied .*CAP_NET_ADMIN"):
        system.missing_rules(NAT, iptables)


# --- files -----------------------------------------------------------------------------------------------------------------------


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_sysctls(tmp_path):
    write(tmp_path / "sys/net/ipv4/ip_forward", "1\n")
    assert system.read_sysctl("net/ipv4/ip_forward", str(tmp_path)) == "1"
    assert system.read_sysctl("net/ipv4/nothing", str(tmp_path)) == ""


def test_router_advertisements_are_accepted_before_forwarding_begins():
    """The other way round the kernel forgets the default route that it learned from one."""
    assert list(system.sysctls(NAT)) == ["net/ipv4/ip_forward", "net/ipv4/conf/ens5/rp_filter", system.LIBERAL]
    assert list(system.sysctls(BOTH).items())[3:] == [
        ("net/ipv6/conf/ens5/accept_ra", "2"),
        ("net/ipv6/conf/all/forwarding", "1"),
    ]
    assert system.sysctls(ROUTED) == system.sysctls(BOTH)


def test_forwarded_packets_of_both_families(tmp_path):
    assert system.forwarded_packets(str(tmp_path)) == 0
    write(tmp_path / "net/snmp", "Ip: Forwarding DefaultTTL ForwDatagrams\nIp: 1 64 40\n")
    assert system.forwarded_packets(str(tmp_path)) == 40
    write(tmp_path / "net/snmp6", "Ip6InReceives                   \t9\nIp6OutForwDatagrams             \t2\n")
    assert system.forwarded_packets(str(tmp_path)) == 42


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


def test_ipv6_default_routes(tmp_path):
    """As /proc/net/ipv6_route prints them: what the kernel has on lo rejects."""
    zero, gateway = "0" * 32, "fe80000000000000" + "0" * 15 + "1"
    rows = [
        (zero, "00", "00000400", "00000003", "ens5"),
        (zero, "00", "ffffffff", "00200200", "lo"),
        ("2001" + "0" * 28, "20", "00000400", "00000003", "ens6"),
    ]
    lines = [
        "%s %s %s 00 %s %s 00000001 00000000 %s %s" % (to, length, zero, gateway, metric, flags, device.rjust(8))
        for to, length, metric, flags, device in rows
    ]
    write(tmp_path / "net/ipv6_route", "\n".join(lines) + "\n")
    assert system.ipv6_default_routes(str(tmp_path)) == ["ens5"]
    assert system.ipv6_default_routes(str(tmp_path / "nowhere")) == []


def test_ipv6_addresses(tmp_path):
    """As /proc/net/if_inet6 prints them: address, index, length, scope, flags, name."""
    address = "20010db8" + "0" * 24
    for scope, flags, name in (("20", "80", "ens5"), ("00", "40", "ens5"), ("00", "88", "ens5"), ("00", "80", "ens6")):
        write(tmp_path / "net/if_inet6", "%s 02 40 %s %s %s\n" % (address, scope, flags, name.rjust(8)))
        assert system.ipv6_addresses("ens5", str(tmp_path)) == [], (scope, flags, name)
    write(tmp_path / "net/if_inet6", "%s 02 80 00 00     ens5\n" % address)
    assert system.ipv6_addresses("ens5", str(tmp_path)) == [address]


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
