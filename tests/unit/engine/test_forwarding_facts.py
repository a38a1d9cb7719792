# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks that prove that a node can NAT, on a pretended /proc."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nat_failover.host.kernel import LIBERAL, LOOSE
from nat_failover.host.netfilter import RulesReading
from nat_failover.host.repair_helper import RULES, SYSCTLS
from nat_failover.model.nat import Identity, Nat
from nat_failover.observe import forwarding_facts
from nat_failover.observe.forwarding_facts import CHECKS, Finding, Subject, examine, first_defect, repairable
from nat_failover.observe.this_host import ThisHost

NAT = Nat(("10.0.0.0/16",), "ens5")
MOVING = replace(NAT, identities=(Identity("nat-a", "10.0.0.20", ("10.0.10.0/24",)),))
DUAL = Nat(("10.0.0.0/16", "2001:db8::/56"), "ens5")
ROUTE = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n{}\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n"
)
ROUTE6 = "{0} 00 {0} 00 {0} 00000400 00000001 00000000 00000003     {1}\n"
ADDRESS6 = "20010db8" + "0" * 24 + " 02 40 00 80     ens5\n"


class Host:
    """A host on which all is well, and what a test spoils of it."""

    def __init__(self, folder):
        self.folder = folder
        self.rules, self.source_dest_check, self.nat = RulesReading(), False, NAT
        self.answered, self.foreign, self.foreign_unknown = {"iptables": True}, (), ""
        files = {
            "sys/net/ipv4/ip_forward": "1",
            "sys/net/ipv6/conf/all/forwarding": "1",
            "sys/net/ipv6/conf/ens5/accept_ra": "2",
            f"sys/{LIBERAL}": "1",
            f"sys/{LOOSE}": "1",
            "net/route": ROUTE.format("ens5"),
            "net/ipv6_route": ROUTE6.format("0" * 32, "ens5"),
            "net/if_inet6": ADDRESS6,
            "class/ens5/flags": "0x1003",
            "class/ens5/operstate": "up",
            "sys/net/netfilter/nf_conntrack_count": "10",
            "sys/net/netfilter/nf_conntrack_max": "100",
        }
        for path, text in files.items():
            self.write(path, text)

    def write(self, path, text):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            file.unlink()
        else:
            file.write_text(text)

    def spoil(self, **changes):
        for name, value in changes.items():
            if hasattr(self, name):
                setattr(self, name, value)
            else:
                self.write(PATHS[name], value)
        return self

    def examine(self):
        class_net = str(self.folder / "class")
        others = (self.answered, self.foreign, self.foreign_unknown)
        return examine(Subject(self.nat, self.rules, self.source_dest_check, *others, str(self.folder), class_net))


PATHS = {
    "ip_forward": "sys/net/ipv4/ip_forward",
    "forwarding6": "sys/net/ipv6/conf/all/forwarding",
    "accept_ra": "sys/net/ipv6/conf/ens5/accept_ra",
    "liberal": f"sys/{LIBERAL}",
    "loose": f"sys/{LOOSE}",
    "route": "net/route",
    "route6": "net/ipv6_route",
    "address6": "net/if_inet6",
    "flags": "class/ens5/flags",
    "flows": "sys/net/netfilter/nf_conntrack_count",
}
TORN = RulesReading("", "", {"iptables": "no text"})
TORN6 = RulesReading("", "", {"iptables": "no text", "ip6tables": "no text of IPv6"})
NO_ROUTE = "Iface\tDestination\n"


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_all_facts_are_good(host):
    assert first_defect(host.examine()) == ""
    assert first_defect(host.spoil(source_dest_check=None).examine()) == "", "EC2 has not been read yet"
    assert first_defect(host.spoil(nat=DUAL).examine()) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ip_forward": "0"}, "ip_forward=0"),
        ({"ip_forward": None}, "ip_forward=unreadable"),
        ({"flags": "0x1002"}, "interface ens5 is down"),
        ({"route": NO_ROUTE}, "no default route by interface ens5"),
        ({"route": ROUTE.format("ens6")}, "no default route by interface ens5"),
        ({"rules": RulesReading("iptables -t nat: no rule X")}, "iptables -t nat: no rule X"),
        ({"flows": "99"}, "conntrack table 99 % full"),
        ({"source_dest_check": True}, "source/dest check is on"),
    ],
)
def test_each_fact_alone_fails(host, change, words):
    assert first_defect(host.spoil(**change).examine()) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accept_ra": "0"}, ""),  # another program reads advertisements, and the route is there
        ({"forwarding6": "0"}, "ipv6 forwarding=0"),
        ({"forwarding6": None}, "ipv6 forwarding=unreadable"),
        ({"address6": ""}, "interface ens5 has no IPv6 address"),
        ({"address6": "", "nat": replace(DUAL, ipv6="forward")}, ""),
        ({"route6": ROUTE6.format("0" * 32, "lo")}, "no IPv6 default route by interface ens5"),
        ({"route6": "", "accept_ra": "1"}, "no IPv6 default route by interface ens5 (accept_ra=1)"),
    ],
)
def test_each_fact_of_ipv6_alone_fails_where_ipv6_is_forwarded(host, change, words):
    assert first_defect(host.spoil(**{"nat": DUAL, **change}).examine()) == words
    assert first_defect(host.spoil(nat=NAT).examine()) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, set()),
        ({"ip_forward": "0"}, {SYSCTLS}),
        ({"rules": RulesReading("no rule")}, {RULES}),
        ({"ip_forward": "0", "rules": RulesReading("no rule")}, {SYSCTLS, RULES}),
        ({"route": NO_ROUTE}, set()),
        ({"liberal": "0"}, {SYSCTLS}),
        ({"liberal": None}, set()),  # nothing is tracked yet
        ({"forwarding6": "0"}, {SYSCTLS}),
        ({"accept_ra": "1", "route6": ""}, {SYSCTLS}),
        ({"accept_ra": "0"}, set()),  # not this node's to change while the route is there
        ({"route6": ""}, set()),  # waits for the next advertisement
        ({"address6": ""}, set()),
        ({"rules": RulesReading("", "POSTROUTING jumps twice")}, {RULES}),
        ({"rules": TORN, "answered": {"iptables": False}}, {RULES}),
        ({"rules": TORN, "answered": {}}, set()),  # before the canary's first result
        ({"rules": TORN}, set()),  # packets pass
    ],
)
def test_what_can_be_repaired(host, change, words):
    assert set(repairable(host.spoil(nat=DUAL, **change).examine())) == words


def test_a_strict_connection_tracking_is_a_warning_and_the_node_forwards(host):
    found = host.spoil(liberal="0").examine()
    assert first_defect(found) == ""
    assert repairable(found) == {SYSCTLS: "nf_conntrack_tcp_be_liberal=0"}
    assert "run the role again" in forwarding_facts.warnings(found)[0]


def test_status_shows_the_values_under_their_keys(host):
    assert forwarding_facts.shown(host.examine()) == {
        "ip_forward": "1",
        "interface": "ens5 up",
        "default_routes": "ens5",
        "rules": "all there",
        "foreign_rules": "none",
        "conntrack": "10.0 % full",
        "source_dest_check": "off",
    }
    six = forwarding_facts.shown(host.spoil(nat=DUAL, route6="").examine())
    assert {key: value for key, value in six.items() if key.startswith("ipv6")} == {
        "ipv6_forwarding": "1",
        "ipv6_accept_ra": "2",
        "ipv6_default_routes": "none",
    }


def test_a_further_check_is_one_line_of_the_list(host, monkeypatch):
    monkeypatch.setitem(CHECKS, "disk", lambda node: Finding("99 % full", "disk 99 % full", "disk"))
    found = host.examine()
    assert forwarding_facts.shown(found)["disk"] == "99 % full"
    assert first_defect(found) == "disk 99 % full"
    assert repairable(found) == {"disk": "disk 99 % full"}


@pytest.mark.parametrize(
    ("rules", "answered", "fatal"),
    [
        (TORN, {"iptables": True}, ""),
        (TORN, {"iptables": False}, "the rules of iptables cannot be read: no text"),
        (TORN, {}, "the rules of iptables cannot be read: no text"),
        (TORN6, {"iptables": True, "ip6tables": True}, ""),
        (TORN6, {"iptables": True, "ip6tables": False}, "the rules of ip6tables cannot be read: no text of IPv6"),
        (TORN6, {"iptables": True}, "the rules of ip6tables cannot be read: no text of IPv6"),
        (TORN._replace(missing="no jump"), {"iptables": True}, "no jump"),  # read, and not there
    ],
)
def test_rules_that_cannot_be_read_are_a_defect_only_where_no_answer_of_the_canary_outranks_them(
    host, rules, answered, fatal
):
    found = host.spoil(nat=DUAL, rules=rules, answered=answered).examine()
    assert first_defect(found) == fatal
    assert bool(forwarding_facts.warnings(found)) == (not fatal)


def test_rules_of_others_are_a_warning_with_the_text_of_the_first_ones(host):
    assert forwarding_facts.warnings(host.examine()) == ()
    found = host.spoil(foreign=tuple(f"rule {number}" for number in range(5))).examine()
    assert first_defect(found) == "" and repairable(found) == {}
    (warning,) = forwarding_facts.warnings(found)
    assert "rule 0; rule 1; rule 2; and 2 more" in warning and "by ens5" in warning
    assert forwarding_facts.shown(host.spoil(foreign=(), foreign_unknown="no nft").examine())["foreign_rules"] == (
        "unknown: no nft"
    )


def test_rules_that_cannot_be_read_are_told_with_the_reason():
    def runner(argv, *, timeout, stdin=""):
        return 127, "", "iptables-save: not found"

    reading = ThisHost(runner).read_rules(NAT)
    assert reading.missing == "" and "iptables-save failed (127)" in reading.unreadable["iptables"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"loose": "0"}, {SYSCTLS: "nf_conntrack_tcp_loose=0"}),
        ({"loose": None}, {}),  # nothing is tracked yet
        ({}, {}),
        ({"loose": "0", "nat": NAT}, {}),  # without identities a strict kernel is as good
    ],
)
def test_a_kernel_that_takes_up_no_flow_is_repaired_for_identities_only(host, change, found):
    findings = host.spoil(**{"nat": MOVING, **change}).examine()
    assert repairable(findings) == found and first_defect(findings) == ""
    assert ("tcp_loose" in findings) == bool(host.nat.identities)
