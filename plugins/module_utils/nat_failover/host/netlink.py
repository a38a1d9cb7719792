# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel tells at once: rules, routes, links or forwarding have changed. So a fault is seen in milliseconds, and looking is rare.

A notice says that something changed, not what: the facts are read again. Where there are none (iptables-legacy, no CAP_NET_ADMIN), the
facts are still read at their own pace.
"""

from __future__ import annotations

import contextlib
import socket
import typing as t

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
# Groups as the bits of nl_groups: links, routes and forwarding switched of IPv4 and IPv6, IPv6 addresses (linux/rtnetlink.h); nf_tables
# (linux/netfilter/nfnetlink.h).
GROUPS = ((NETLINK_ROUTE, 1 << 0 | 1 << 6 | 1 << 23 | 1 << 8 | 1 << 10 | 1 << 24), (NETLINK_NETFILTER, 1 << 6))


def subscribe() -> t.List[socket.socket]:
    """Sockets that become readable when something changed; as many as this kernel and this user have."""
    found = []
    for protocol, groups in GROUPS:
        notices = None
        try:
            notices = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
            notices.setblocking(False)
            notices.bind((0, groups))
            found.append(notices)
        except (OSError, AttributeError):
            if notices is not None:
                notices.close()
    return found


def of_rules(subscribed: t.Iterable[socket.socket]) -> bool:
    """Would a change of nf_tables' rules be told?"""
    return any(each.proto == NETLINK_NETFILTER for each in subscribed)


def swallow(notices: socket.socket) -> None:
    """Read what there is. An overrun (ENOBUFS) is a notice too."""
    with contextlib.suppress(BlockingIOError):
        for _count in range(100):
            try:
                notices.recv(65536)
            except BlockingIOError:
                raise
            except OSError:
                continue
