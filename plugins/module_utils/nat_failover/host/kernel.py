# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This host: its iptables rules (through an injected runner), a few files of /proc and /sys, and systemd's notify socket.

All rules live in chains of our own, one in a table, each reached by one jump. So they can be compared, replaced at once and removed without
touching a rule of anybody else, and without ever leaving a moment in which nothing is masqueraded.
"""

from __future__ import annotations

import os
import socket
import typing as t

from ..errors import NatFailoverError
from ..model.settings import MASQUERADE, PMTU, Nat

Runner = t.Callable[..., t.Tuple[int, str, str]]

POSTROUTING, FORWARD, CLAMP = "NAT-FAILOVER-POSTROUTING", "NAT-FAILOVER-FORWARD", "NAT-FAILOVER-MSS"
# table -> (built-in chain, our chain). Ours comes first in FORWARD, where another manager's DROP may wait.
CHAINS = {"nat": ("POSTROUTING", POSTROUTING), "filter": ("FORWARD", FORWARD), "mangle": ("FORWARD", CLAMP)}
COMMANDS = ("iptables", "ip6tables")  # a command stands for its family of addresses
TIMEOUT = 5.0  # seconds for one iptables command
RTF_REJECT = 0x200  # linux/route.h
FORWARDED6 = "Ip6OutForwDatagrams"  # in /proc/net/snmp6
IFA_F_UNUSABLE = 0x08 | 0x40  # linux/if_addr.h: duplicate, or not yet known to be none
PROC, SYS_CLASS_NET = "/proc", "/sys/class/net"


# --- iptables ------------------------------------------------------------------------------------------------------------------


def rules(nat: Nat, command: str = "iptables") -> t.Dict[str, t.Tuple[str, ...]]:
    """Our rules by table, in order, in the very form in which iptables-save prints them (so that they can be compared).

    ``command`` names the family. No rules are wanted in a table without lines; nor is our chain.

    Traffic between the sources stays as it is. Packets in the middle of a TCP flow that this node does not know (it was the other node's)
    are answered with a reset, so that the client reconnects at once instead of hanging. The kernel calls them NEW, or INVALID where
    nf_conntrack_tcp_loose is off. A packet of a living flow must never be INVALID, therefore: see ``LIBERAL``. Where nothing is translated,
    the flow just goes on.
    """
    networks = [source for source in nat.sources if (":" in source) == (command == "ip6tables")]
    translated = command == "iptables" or nat.ipv6 == MASQUERADE
    unknown = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate INVALID,NEW"
    inside = ["-d %s" % network for network in networks]
    outward = ["-s %s -o %s" % (network, nat.interface) for network in networks]
    answers = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    masquerade = ["%s -j RETURN" % match for match in inside] + ["%s -j MASQUERADE" % match for match in outward]
    forward = ["%s -i %s %s" % (match, nat.interface, answers) for match in inside]
    forward += ["%s -o %s -j RETURN" % (match, nat.interface) for match in inside]
    for match in outward:
        forward += ["%s %s -j REJECT --reject-with tcp-reset" % (match, unknown)] if translated else []
        forward += ["%s -j ACCEPT" % match]
    tables = {"nat": masquerade if translated else [], "filter": forward, "mangle": _clamp(networks, nat)}
    return {table: tuple("-A %s %s" % (CHAINS[table][1], rule) for rule in lines) for table, lines in tables.items()}


def _clamp(networks: t.Sequence[str], nat: Nat) -> t.List[str]:
    """The largest TCP segment that either end may announce. The kernel only ever lowers what is announced."""
    if not nat.clamp_mss:
        return []
    how = "--clamp-mss-to-pmtu" if nat.clamp_mss == PMTU else "--set-mss %s" % nat.clamp_mss
    syn = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS %s" % how
    ways = [way for network in networks for way in ("-s %s -o" % network, "-d %s -i" % network)]
    return ["%s %s %s" % (way, nat.interface, syn) for way in ways]


def missing_rules(nat: Nat, runner: Runner) -> str:
    """The first thing that is not as it must be, in words; empty when all is there."""
    for command, table, wanted in _tables(nat):
        if not wanted:
            continue  # looking costs a process: what is left over is for ``left_over_rules``
        built_in, ours = CHAINS[table]
        present = _saved(command, table, runner)
        if _jump(table) not in present:
            return "%s -t %s: no jump from %s to %s" % (command, table, built_in, ours)
        found = tuple(line for line in present if line.startswith("-A %s " % ours))
        for rule in wanted:
            if rule not in found:
                return "%s -t %s: no rule %s" % (command, table, rule)
        if found != wanted:
            return "%s -t %s: rules in %s that are not ours, or in another order" % (command, table, ours)
    return ""


def rules_in_nftables(runner: Runner) -> bool:
    """Are iptables' rules kept in nf_tables, which gives notice of changes? (The legacy tables do not.)"""
    said = [runner(["%s-save" % command, "--version"], timeout=TIMEOUT) for command in COMMANDS]
    there = [out for code, out, _err in said if not code]
    return bool(there) and all("nf_tables" in out for out in there)


def left_over_rules(nat: Nat, runner: Runner) -> str:
    """Our rules that are not asked for any more, in words; empty when there are none."""
    for command, table, wanted in _tables(nat):
        if not wanted and _ours(command, table, runner):
            return "%s -t %s: %s is not asked for any more" % (command, table, CHAINS[table][1])
    return ""


def apply_rules(nat: Nat, runner: Runner) -> bool:
    """Put our rules in place, each table at once; returns whether anything was changed. Raises ``NatFailoverError``."""
    changed = [
        _put(command, table, wanted, runner) if wanted else _remove(command, table, runner)
        for command, table, wanted in _tables(nat)
    ]
    return any(changed)


def remove_rules(runner: Runner) -> bool:
    """Take away our chains and jumps, nothing else; returns whether anything was changed."""
    changed = [_remove(command, table, runner) for command in COMMANDS for table in CHAINS]
    return any(changed)


def _tables(nat: Nat) -> t.Iterator[t.Tuple[str, str, t.Tuple[str, ...]]]:
    for command in COMMANDS:
        for table, wanted in rules(nat, command).items():
            yield command, table, wanted


def _put(command: str, table: str, wanted: t.Tuple[str, ...], runner: Runner) -> bool:
    ours = CHAINS[table][1]
    present = _saved(command, table, runner)
    jump_there = _jump(table) in present
    if jump_there and tuple(line for line in present if line.startswith("-A %s " % ours)) == wanted:
        return False
    # With --noflush, naming a chain of one's own empties that chain and no other.
    jump = (
        () if jump_there else (_jump(table) if table == "nat" else _jump(table).replace("-A FORWARD", "-I FORWARD 1"),)
    )
    script = "\n".join(("*%s" % table, ":%s - [0:0]" % ours, *wanted, *jump, "COMMIT", ""))
    _run(["%s-restore" % command, "--noflush", "--wait", "5"], runner, stdin=script)
    return True


def _remove(command: str, table: str, runner: Runner) -> bool:
    built_in, ours = CHAINS[table]
    found = _ours(command, table, runner)
    if _jump(table) in found:
        _run([command, "--wait", "5", "-t", table, "-D", built_in, "-j", ours], runner)
    if any(line.startswith(":") for line in found):
        for verb in ("-F", "-X"):
            _run([command, "--wait", "5", "-t", table, verb, ours], runner)
    return bool(found)


def _ours(command: str, table: str, runner: Runner) -> t.List[str]:
    """Our jump and the line that declares our chain, where they are."""
    if command == "ip6tables" and runner(["ip6tables-save", "-t", table], timeout=TIMEOUT)[0]:
        return []  # a host without IPv6 has none of our rules in it
    return [
        line
        for line in _saved(command, table, runner)
        if line == _jump(table) or line.startswith(":%s " % CHAINS[table][1])
    ]


def _jump(table: str) -> str:
    return "-A %s -j %s" % CHAINS[table]


def _saved(command: str, table: str, runner: Runner) -> t.List[str]:
    return [line.strip() for line in _run(["%s-save" % command, "-t", table], runner).splitlines()]


def _run(argv: t.List[str], runner: Runner, stdin: str = "") -> str:
    code, out, err = runner(argv, timeout=TIMEOUT, stdin=stdin)
    if code:
        remedy = "is iptables installed, and does this user have CAP_NET_ADMIN?"
        raise NatFailoverError(
            "%s failed (%d): %s; %s" % (argv[0], code, (err or out).strip().replace("\n", " ")[:300], remedy)
        )
    return out


# --- the kernel's files --------------------------------------------------------------------------------------------------------


def read_sysctl(name: str, proc: str = PROC) -> str:
    """A sysctl's value, e.g. of ``net/ipv4/ip_forward``; empty when the kernel has no such one."""
    return _read(os.path.join(proc, "sys", name))


# Packets out of their flow's window count as the flow's. Otherwise a late or doubled one would be INVALID, and a living flow reset.
LIBERAL = "net/netfilter/nf_conntrack_tcp_be_liberal"


def sysctls(nat: Nat) -> t.Dict[str, str]:
    """What a NAT node needs, in order, as the role's file sets it at boot; keys are paths, since an interface may have a dot in its name."""
    # Loose: answers may come back by another path than the one the request took.
    values = {"net/ipv4/ip_forward": "1", "net/ipv4/conf/%s/rp_filter" % nat.interface: "2", LIBERAL: "1"}
    if nat.has_ipv6:
        # First: a VPC's default route comes by router advertisement, and a kernel that begins to forward drops what it learned so (and
        # learns nothing more) on every interface where accept_ra is not 2.
        values["net/ipv6/conf/%s/accept_ra" % nat.interface] = "2"
        values["net/ipv6/conf/all/forwarding"] = "1"
    return values


def write_sysctls(values: t.Mapping[str, str], proc: str = PROC) -> bool:
    """Set what is not so yet; returns whether anything was changed. Raises ``NatFailoverError``."""
    changed = False
    for key, value in values.items():
        path = os.path.join(proc, "sys", key)
        if key == LIBERAL and not os.path.exists(path):
            continue  # nothing is tracked yet, so there is no flow to reset
        if _read(path) != value:
            try:
                with open(path, "w", encoding="ascii") as stream:
                    stream.write(value)
            except OSError as error:
                raise NatFailoverError("%s cannot be set to %s: %s" % (key, value, error.strerror)) from None
            changed = True
    return changed


def forwarded_packets(proc: str = PROC) -> int:
    """Packets of both families that this host has forwarded since it booted; 0 when that is not known."""
    rows = [line.split() for line in _read(os.path.join(proc, "net", "snmp")).splitlines() if line.startswith("Ip:")]
    four = int(rows[1][rows[0].index("ForwDatagrams")]) if len(rows) == 2 and "ForwDatagrams" in rows[0] else 0
    six = (
        line.split() for line in _read(os.path.join(proc, "net", "snmp6")).splitlines() if line.startswith(FORWARDED6)
    )
    return four + sum(int(words[1]) for words in six if len(words) == 2 and words[0] == FORWARDED6)


def interface_problem(interface: str, sys_class_net: str = SYS_CLASS_NET) -> str:
    """Why this interface cannot carry traffic; empty when it is there and up."""
    folder = os.path.join(sys_class_net, interface)
    flags = _read(os.path.join(folder, "flags"))
    if not flags:
        return "there is no interface %s" % interface
    if not int(flags, 16) & 1:  # IFF_UP
        return "interface %s is down" % interface
    # "unknown" is what devices without carrier detection say.
    state = _read(os.path.join(folder, "operstate"))
    return "" if state in ("up", "unknown") else "interface %s is %s" % (interface, state or "gone")


def default_routes(proc: str = PROC) -> t.List[str]:
    """The interfaces that IPv4 default routes leave by."""
    lines = _read(os.path.join(proc, "net", "route")).splitlines()[1:]
    return [
        fields[0]
        for fields in (line.split() for line in lines)
        if len(fields) > 7 and fields[1] == fields[7] == "00000000"
    ]


def ipv6_default_routes(proc: str = PROC) -> t.List[str]:
    """The interfaces that IPv6 default routes leave by."""
    rows = [line.split() for line in _read(os.path.join(proc, "net", "ipv6_route")).splitlines()]
    return [
        fields[9]
        for fields in rows
        if len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00" and not int(fields[8], 16) & RTF_REJECT
    ]


def ipv6_addresses(interface: str, proc: str = PROC) -> t.List[str]:
    """The usable IPv6 addresses of an interface beyond its link, as the kernel writes them: 32 digits."""
    rows = [line.split() for line in _read(os.path.join(proc, "net", "if_inet6")).splitlines()]
    return [
        fields[0]
        for fields in rows
        if len(fields) > 5 and fields[5] == interface and fields[3] == "00" and not int(fields[4], 16) & IFA_F_UNUSABLE
    ]


def conntrack_fill(proc: str = PROC) -> float:
    """How full the connection tracking table is, 0 to 1; 0 where the kernel does not track."""
    count, most = (read_sysctl("net/netfilter/nf_conntrack_%s" % name, proc) for name in ("count", "max"))
    return int(count) / int(most) if count.isdigit() and most.isdigit() and int(most) else 0.0


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


# --- systemd -------------------------------------------------------------------------------------------------------------------


def sd_notify(message: str) -> None:
    """sd_notify(3): tell systemd; does nothing where systemd did not start us."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        try:
            notify.sendto(message.encode(), socket.MSG_DONTWAIT, address)
        except OSError:
            pass  # the watchdog will tell
