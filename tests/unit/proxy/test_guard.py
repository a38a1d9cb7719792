# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's rules as text, and how they are put in place beside those of others."""

from __future__ import annotations

import pytest

GUARD = {
    "private": ["10.0.0.0/8", "169.254.0.0/16", "fd00::/8", "::ffff:0:0/96"],
    "holes": [["10.0.5.7/32", 8080], ["fd00::7/128", 8443]],
    "ports": [80, 443],
}
RESOLVERS = ("10.0.0.2", "fd00:ec2::253")
REJECT = " -j REJECT --reject-with icmp-admin-prohibited"


def of(lines, chain):
    return [line[len(f"-A {chain} ") :] for line in lines]


def test_answers_names_holes_own_addresses_private_places_ports_and_nothing_else(guard):
    assert of(guard.rules(GUARD, RESOLVERS, 4), guard.CHAIN) == [
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-d 10.0.0.2/32 -p udp -m udp --dport 53 -j ACCEPT",
        "-d 10.0.0.2/32 -p tcp -m tcp --dport 53 -j ACCEPT",
        "-d 10.0.5.7/32 -p tcp -m tcp --dport 8080 -j ACCEPT",
        "-m addrtype --dst-type LOCAL" + REJECT,
        "-d 10.0.0.0/8" + REJECT,
        "-d 169.254.0.0/16" + REJECT,
        "-p tcp -m tcp --dport 80 -j ACCEPT",
        "-p tcp -m tcp --dport 443 -j ACCEPT",
        REJECT.strip(),
    ]


def test_the_rules_of_ipv6_hold_what_is_ipv6(guard):
    lines = of(guard.rules(GUARD, RESOLVERS, 6), guard.CHAIN)
    assert "-d fd00:ec2::253/128 -p udp -m udp --dport 53 -j ACCEPT" in lines
    assert "-d fd00::7/128 -p tcp -m tcp --dport 8443 -j ACCEPT" in lines
    assert "-d ::ffff:0.0.0.0/96 -j REJECT --reject-with icmp6-adm-prohibited" in lines  # as ip6tables-save prints it
    assert not [line for line in lines if "10." in line]
    assert lines[-1] == "-j REJECT --reject-with icmp6-adm-prohibited"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 10.0.0.2\nsearch x\nnameserver 10.0.0.2\n", ("10.0.0.2",)),
        ("# nameserver 1.1.1.1\nnameserver fe80::1%eth0\n", ("fe80::1",)),
        ("nameserver nonsense\nnameserver\n", ("127.0.0.1",)),
        ("", ("127.0.0.1",)),
    ],
)
def test_resolvers_are_read_as_the_c_library_does(guard, text, expected):
    assert guard.read_resolvers(text) == expected


class Kernel:
    """iptables-save and iptables-restore, as far as they are used: one table of each family."""

    def __init__(self, before=()):
        self.tables = {"iptables": list(before), "ip6tables": list(before)}
        self.commits = 0

    def __call__(self, argv, stdin):
        family = argv[0].rsplit("-", 1)[0]
        table = self.tables[family]
        if argv[0].endswith("-save"):
            return "\n".join([":OUTPUT ACCEPT [0:0]", *table])
        self.commits += 1
        for line in stdin.splitlines():
            words = line.split(" ", 2)
            if line.startswith(":"):
                chain = line[1:].split()[0]
                table[:] = [each for each in table if not each.startswith((f"-A {chain} ", f":{chain} "))] + [line]
            elif words[0] == "-A":
                table.append(line)
            elif words[0] == "-D":
                table.remove(line.replace("-D", "-A", 1))
            elif words[0] == "-I":
                first = next((i for i, each in enumerate(table) if each.startswith("-A OUTPUT ")), len(table))
                table.insert(first, line.replace("-I OUTPUT 1", "-A OUTPUT", 1))
            elif words[0] == "-F":
                table[:] = [each for each in table if not each.startswith(f"-A {words[1]} ")]
            elif words[0] == "-X":
                table[:] = [each for each in table if not each.startswith(f":{words[1]} ")]
        return ""


FOREIGN = "-A OUTPUT -d 192.0.2.1/32 -j ACCEPT"


def test_applied_once_then_never_again(guard):
    kernel = Kernel()
    assert len(guard.work("check", {"guard": GUARD}, [13, 101], RESOLVERS, kernel)) == 2
    assert kernel.commits == 0
    assert len(guard.work("apply", {"guard": GUARD}, [13, 101], RESOLVERS, kernel)) == 2
    assert kernel.commits == 2
    assert guard.work("apply", {"guard": GUARD}, [13, 101], RESOLVERS, kernel) == []
    assert kernel.commits == 2


def test_a_rule_of_others_stays_and_does_not_come_before_the_guard(guard):
    kernel = Kernel([FOREIGN])
    guard.work("apply", {"guard": GUARD}, [13], RESOLVERS, kernel)
    outputs = [line for line in kernel.tables["iptables"] if line.startswith("-A OUTPUT ")]
    assert outputs == [*guard.jumps([13]), FOREIGN]
    kernel.tables["iptables"].remove(FOREIGN)
    kernel.tables["iptables"].insert(0, FOREIGN)  # somebody inserts one before it
    assert "does not begin" in guard.work("check", {"guard": GUARD}, [13], RESOLVERS, kernel)[0]
    guard.work("apply", {"guard": GUARD}, [13], RESOLVERS, kernel)
    assert guard.work("check", {"guard": GUARD}, [13], RESOLVERS, kernel) == []


@pytest.mark.parametrize("broken", ["flushed", "a rule less", "other resolvers", "another user", "a second jump"])
def test_what_is_not_as_it_must_be_is_found_and_put_right(guard, broken):
    kernel, resolvers, uids = Kernel(), RESOLVERS, [13]
    guard.work("apply", {"guard": GUARD}, uids, resolvers, kernel)
    table = kernel.tables["iptables"]
    if broken == "flushed":
        table.clear()
    elif broken == "a rule less":
        table.remove(next(line for line in table if "169.254" in line))
    elif broken == "a second jump":
        table.append(guard.jumps([99])[0])
    elif broken == "another user":
        uids = [14]
    else:
        resolvers = ("10.9.9.9",)
    assert guard.work("check", {"guard": GUARD}, uids, resolvers, kernel)
    guard.work("apply", {"guard": GUARD}, uids, resolvers, kernel)
    assert guard.work("check", {"guard": GUARD}, uids, resolvers, kernel) == []


def test_removed_without_a_trace(guard):
    kernel = Kernel([FOREIGN])
    guard.work("apply", {"guard": GUARD}, [13, 101], RESOLVERS, kernel)
    assert len(guard.work("remove", {"guard": GUARD}, [13, 101], RESOLVERS, kernel)) == 2
    assert kernel.tables == {"iptables": [FOREIGN], "ip6tables": [FOREIGN]}
    assert guard.work("remove", {"guard": GUARD}, [13, 101], RESOLVERS, kernel) == []


def test_a_command_that_fails_is_an_error_with_its_words(guard):
    with pytest.raises(guard.GuardError, match="no-such-command"):
        guard.run(["no-such-command"])


def test_without_the_engines_user_there_is_no_guard(guard):
    with pytest.raises(guard.GuardError, match="no user nobody-of-this-name"):
        guard.known_users(["nobody-of-this-name", "root"])
    assert guard.known_users(["root", "nobody-of-this-name"]) == [0]
