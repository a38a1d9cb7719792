# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices of the kernel that rules, routes, links or forwarding have changed.

A fault is seen in milliseconds by them.

A notice says that something changed and not what, so the reader reads all facts again. Without
notices (iptables-legacy, no CAP_NET_ADMIN) the facts are still read at their own pace.
"""

from __future__ import annotations

import typing as t

from ..runtime.base import Datagrams, Receiver, Runtime

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
# Groups as the bits of nl_groups. linux/rtnetlink.h: links, routes and forwarding switched of IPv4
# and IPv6, IPv6 addresses. linux/netfilter/nfnetlink.h: nf_tables.
GROUPS = ((NETLINK_ROUTE, 1 << 0 | 1 << 6 | 1 << 23 | 1 << 8 | 1 << 10 | 1 << 24), (NETLINK_NETFILTER, 1 << 6))


class Subscription(t.NamedTuple):
    """The notices that this kernel gives to this user."""

    sockets: tuple[Datagrams, ...]
    of_rules: bool  # changes of nf_tables' rules are among them

    def close(self) -> None:
        """End the subscription."""
        for each in self.sockets:
            each.close()


def subscribe(runtime: Runtime, changed: t.Callable[[], None]) -> Subscription:
    """Call ``changed()`` after each group of notices, until the subscription is closed."""
    # The content of a notice is not needed. An overrun of the socket (ENOBUFS) is a notice too.
    receiver = Receiver(lambda _data, _sender: None, changed, lambda _error: None)
    found = {protocol: runtime.open_netlink(protocol, groups, receiver) for protocol, groups in GROUPS}
    return Subscription(
        tuple(each for each in found.values() if each is not None), found[NETLINK_NETFILTER] is not None
    )
