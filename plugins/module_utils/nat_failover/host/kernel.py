# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of /proc and /sys: sysctls, interfaces, routes, counters and the connection tracking table."""

from __future__ import annotations

import os
import typing as t

from ..errors import NatFailoverError
from ..model.nat import Nat

RTF_REJECT = 0x200  # linux/route.h
FORWARDED6 = "Ip6OutForwDatagrams"  # in /proc/net/snmp6
IFA_F_UNUSABLE = 0x08 | 0x40  # linux/if_addr.h: duplicate, or not yet known to be none
PROC, SYS_CLASS_NET = "/proc", "/sys/class/net"


def read_sysctl(name: str, proc: str = PROC) -> str:
    """The value of a sysctl, for example ``net/ipv4/ip_forward``.

    Empty if the kernel does not have it.
    """
    return read_text(os.path.join(proc, "sys", name))


# With it, packets outside of the window of their flow still belong to it. Otherwise a late or
# doubled packet would be INVALID, and a living flow be reset.
LIBERAL = "net/netfilter/nf_conntrack_tcp_be_liberal"
# With it, a flow of an identity that began on another node is taken up in the middle. It is the
# kernel's default, and some hardening turns it off.
LOOSE = "net/netfilter/nf_conntrack_tcp_loose"
TRACKING = (LIBERAL, LOOSE)  # these exist once the kernel tracks connections


def sysctls(nat: Nat) -> dict[str, str]:
    """The sysctls of a NAT node, in order, as the role's file sets them at boot.

    Keys are paths, since the name of an interface may hold a dot.
    """
    # rp_filter 2 is loose: an answer may come back by another path than the request took.
    values = {"net/ipv4/ip_forward": "1", f"net/ipv4/conf/{nat.interface}/rp_filter": "2", LIBERAL: "1"}
    if nat.has_ipv6:
        # accept_ra comes first. A VPC's default route comes by router advertisement. A kernel that
        # begins to forward drops the routes from advertisements, and takes no more, on every
        # interface where accept_ra is not 2.
        values[f"net/ipv6/conf/{nat.interface}/accept_ra"] = "2"
        values["net/ipv6/conf/all/forwarding"] = "1"
    if nat.identities:
        values[LOOSE] = "1"
    return values


def tracking(nat: Nat) -> dict[str, str]:
    """Those of ``sysctls`` that the rules of this node need."""
    return {key: value for key, value in sysctls(nat).items() if key in TRACKING}


def write_sysctls(values: t.Mapping[str, str], proc: str = PROC) -> bool:
    """Set the values that differ. Returns whether anything was changed.

    Raises ``NatFailoverError``.
    """
    changed = False
    for key, value in values.items():
        path = os.path.join(proc, "sys", key)
        if key in TRACKING and not os.path.exists(path):
            continue  # nothing is tracked yet, so there is no flow to reset
        if read_text(path) != value:
            try:
                with open(path, "w", encoding="ascii") as stream:
                    stream.write(value)
            except OSError as error:
                raise NatFailoverError(
                    f"{key} cannot be set to {value}: {error.strerror}; does this run as root?"
                ) from None
            changed = True
    return changed


def forwarded_packets(proc: str = PROC) -> int:
    """Packets of both families that this host has forwarded since it booted.

    0 if that is not known.
    """
    rows = [
        line.split() for line in read_text(os.path.join(proc, "net", "snmp")).splitlines() if line.startswith("Ip:")
    ]
    four = int(rows[1][rows[0].index("ForwDatagrams")]) if len(rows) == 2 and "ForwDatagrams" in rows[0] else 0
    six = (
        line.split()
        for line in read_text(os.path.join(proc, "net", "snmp6")).splitlines()
        if line.startswith(FORWARDED6)
    )
    return four + sum(int(words[1]) for words in six if len(words) == 2 and words[0] == FORWARDED6)


def interface_problem(interface: str, sys_class_net: str = SYS_CLASS_NET) -> str:
    """Why this interface cannot carry traffic, in words. Empty if it exists and is up."""
    folder = os.path.join(sys_class_net, interface)
    flags = read_text(os.path.join(folder, "flags"))
    if not flags:
        return f"there is no interface {interface}"
    if not int(flags, 16) & 1:  # IFF_UP
        return f"interface {interface} is down"
    # Devices without carrier detection are in the state "unknown".
    state = read_text(os.path.join(folder, "operstate"))
    return "" if state in ("up", "unknown") else "interface {} is {}".format(interface, state or "gone")


def default_routes(proc: str = PROC) -> list[str]:
    """The interfaces that IPv4 default routes leave by."""
    lines = read_text(os.path.join(proc, "net", "route")).splitlines()[1:]
    return [
        fields[0]
        for fields in (line.split() for line in lines)
        if len(fields) > 7 and fields[1] == fields[7] == "00000000"
    ]


def ipv6_default_routes(proc: str = PROC) -> list[str]:
    """The interfaces that IPv6 default routes leave by."""
    rows = [line.split() for line in read_text(os.path.join(proc, "net", "ipv6_route")).splitlines()]
    return [
        fields[9]
        for fields in rows
        if len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00" and not int(fields[8], 16) & RTF_REJECT
    ]


def ipv6_addresses(interface: str, proc: str = PROC) -> list[str]:
    """The usable IPv6 addresses of an interface beyond its link, as 32 hexadecimal digits."""
    rows = [line.split() for line in read_text(os.path.join(proc, "net", "if_inet6")).splitlines()]
    return [
        fields[0]
        for fields in rows
        if len(fields) > 5 and fields[5] == interface and fields[3] == "00" and not int(fields[4], 16) & IFA_F_UNUSABLE
    ]


def conntrack_fill(proc: str = PROC) -> float:
    """How full the connection tracking table is, 0 to 1.

    0 if the kernel does not track connections.
    """
    count, most = (read_sysctl(f"net/netfilter/nf_conntrack_{name}", proc) for name in ("count", "max"))
    return int(count) / int(most) if count.isdigit() and most.isdigit() and int(most) else 0.0


def read_text(path: str) -> str:
    """The text of a file of the kernel, without white space around it. Empty: it cannot be read."""
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
