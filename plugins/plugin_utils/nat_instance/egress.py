# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private addresses of identities on this host, as far as its own network tells about them.

Pure: no Ansible.
"""

from __future__ import annotations

import ipaddress
import typing as t


def problem(config: t.Mapping[str, t.Any], network: str) -> str:
    """The objection, in one line, to an address of this node outside of its interface's subnet.

    ``network`` is that subnet; empty: not known. Empty: there is no objection.
    """
    if not network:
        return ""
    subnet = ipaddress.ip_network(network, strict=False)
    me = next((node for node in config["nodes"] if node["name"] == config["self"]), {})
    given = [("nat_instance_egress_private_address", me.get("egress_private_address", ""))]
    given += [("nat_instance_egress_waiting", each) for each in (me.get("egress_waiting") or {}).values()]
    for variable, address in given:
        if address and ipaddress.ip_address(address) not in subnet:
            return (
                f"{variable} (got {address!r}) is outside of {subnet}, the subnet of {config['interface']}; name a private "
                "address that EC2 has assigned to this interface"
            )
    return ""
