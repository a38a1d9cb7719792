# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of IPv4 in new namespaces: of the lab's network, and of a host."""

from __future__ import annotations

FORWARDING = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    # The router must not tell a host that there is a shorter way.
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
}
# A new namespace takes these over from the machine, which may be a router itself; an instance starts as Linux does.
HOST = {
    "ipv4/ip_forward": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/send_redirects": "1",
    "ipv4/conf/default/send_redirects": "1",
    "ipv4/ip_unprivileged_port_start": "1024",
}
