# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private addresses of identities on this host, as far as its own network tells about them.

Pure: no Ansible.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ...module_utils.nat_failover.host.kernel import LOOSE

# Kernel setting -> (file of sysctl.d, value), in the order in which systemd applies them.
Files = t.Mapping[str, t.Sequence[t.Sequence[str]]]


def problem(config: t.Mapping[str, t.Any], network: str) -> str:
    """The objection, in one line, to an address of this node outside of its interface's subnet.

    ``network`` is that subnet; empty: not known. Empty: there is no objection.
    """
    if not network:
        return ""
    subnet = ipaddress.ip_network(network, strict=False)
    for variable, address in _given(config):
        if ipaddress.ip_address(address) not in subnet:
            return (
                f"{variable} (got {address!r}) is outside of {subnet}, the subnet of {config['interface']}; name a private "
                "address that EC2 has assigned to this interface"
            )
    return ""


def addresses(config: t.Mapping[str, t.Any]) -> list[str]:
    """The private addresses that this node needs beside its primary one, its egress address first."""
    return [address for _variable, address in _given(config)]


KERNEL = "1"  # the kernel's own value of LOOSE


def sysctls(config: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The kernel settings that identities need. Empty without one on this node."""
    return {LOOSE: "1"} if addresses(config) else {}


def contradiction(config: t.Mapping[str, t.Any], files: Files, own: str) -> str:
    """The objection, in one line, to a file of sysctl.d that undoes such a setting at each boot.

    ``own`` is the role's file. Empty: there is none.
    """
    for name, value in sysctls(config).items():
        rows = files.get(name, ())
        path, other = rows[-1] if rows else (own, value)
        if path.rpartition("/")[2] > own.rpartition("/")[2] and other != value:
            return (
                f"nat_instance_egress_address: {path} sets {name.replace('/', '.')} to {other} at each boot, and identities need "
                f"{value}, or connections end with a takeover; remove that line, or leave the egress addresses out"
            )
    return ""


def undone(config: t.Mapping[str, t.Any], files: Files, own: str, now: t.Mapping[str, str]) -> dict[str, str]:
    """The settings to put back by hand, once the role's file does not need them any more.

    The value is that of the other files, or the kernel's. ``now`` are the present ones.
    """
    rows = files.get(LOOSE, ())
    if sysctls(config) or own not in [path for path, _value in rows]:
        return {}
    others = [value for path, value in rows if path != own]
    wanted = others[-1] if others else KERNEL
    return {} if now.get(LOOSE, wanted) == wanted else {LOOSE: wanted}


def _given(config: t.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    """(variable of the role, private address) of each one that this node has a use for."""
    me = next((node for node in config["nodes"] if node["name"] == config["self"]), {})
    own = [("nat_instance_egress_private_address", me.get("egress_private_address") or "")]
    waiting = [("nat_instance_egress_waiting", each) for each in (me.get("egress_waiting") or {}).values()]
    return [(variable, address) for variable, address in (*own, *waiting) if address]
