# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines in an engine's own language that a user adds to its configuration.

Pure; what is wrong is one ``ValueError`` in the user's terms. The engine itself judges the rest.
"""

from __future__ import annotations

import ipaddress
import typing as t

# Directives that decide who gets where; the role's variables set them, so that a line cannot undo a
# rule. In lower case.
OWNED = {
    "squid": (
        "http_port https_port cache_effective_user cache_effective_group pid_filename include access_log max_filedescriptors "
        "negative_dns_ttl dns_timeout shutdown_lifetime forward_max_tries cache_peer never_direct icp_port htcp_port snmp_port ssl_bump"
    ).split(),
    "tinyproxy": (
        "user group port listen allow deny filter filtertype filterdefaultdeny filterurls filterextended filtercasesensitive connectport "
        "maxclients timeout logfile syslog pidfile upstream reversepath reverseonly reversebaseurl reversemagic basicauth"
    ).split(),
}
# Directives that name an address of the host itself, in lower case. With another one the engine
# starts and answers errors alone.
BINDING = {
    "squid": ("tcp_outgoing_address", "udp_outgoing_address", "udp_incoming_address"),
    "tinyproxy": ("bind",),
}
# Squid's word for: as in udp_incoming_address.
NOWHERE = "255.255.255.255"


def read(key: str, engine: str, given: t.Sequence[t.Any], own: t.Sequence[str]) -> tuple[str, ...]:
    """The lines of the variable ``key``. ``own``: the addresses of the host; empty where they are
    not known. Raises ``ValueError`` for the first line that is wrong.
    """
    found = tuple(str(line) for line in given)
    for line in found:
        words = line.split()
        if not words or "\n" in line or "\r" in line:
            raise ValueError(f"{key}: {line!r} is not one line")
        directive = words[0].lower()
        allows = directive.startswith(("http_access", "adapted_http_access")) and words[1:2] != ["deny"]
        if directive in OWNED[engine] or allows:
            raise ValueError(f"{key}: {line!r}: variables of the role decide this; leave the line out")
        if directive in BINDING[engine] and own and not all(_held(word, own) for word in words[1:2]):
            raise ValueError(
                "{}: {!r}: this host has no address {}; it has {}".format(key, line, words[1], ", ".join(own))
            )
    return found


def _held(word: str, own: t.Sequence[str]) -> bool:
    """Whether the host has an address; also true of what is no address, which the engine judges."""
    try:
        address = ipaddress.ip_address(word)
        known = {ipaddress.ip_address(each.partition("%")[0]) for each in own}
    except ValueError:
        return True
    return address in known or address.is_loopback or address.is_unspecified or word == NOWHERE
