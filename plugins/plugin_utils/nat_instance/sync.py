# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The synchronisation of connections with the peer of a node.

Pure: no Ansible.
"""

from __future__ import annotations

import typing as t

from ...module_utils.nat_failover.host import conntrackd_conf

VARIABLE = "nat_instance_state_sync"
ENTRIES = 262144  # of the kernel's table, where the role does not set its size


def plan(
    asked: t.Mapping[str, t.Any],
    nodes: t.Sequence[t.Mapping[str, t.Any]],
    interface: str,
    entries: int,
    host: t.Mapping[str, t.Any],
) -> dict[str, t.Any]:
    """``enabled``, ``content`` of conntrackd's file, ``peer``, ``directory``, ``left_over``: files to
    remove, and ``problem``: the first objection in one line, or empty.

    ``entries``: the size of the kernel's table, 0: not known. ``host``: what nat_failover_host_info
    returns.
    """
    enabled = bool(asked["state_sync"]) and not asked["witness"]
    # The mask of the package's own unit stays, since that unit would start at the next boot.
    there = [path for path in host.get("optional", ()) if path.rpartition("/")[2] == conntrackd_conf.NAME]
    made = {"enabled": enabled, "content": "", "peer": "", "directory": conntrackd_conf.DIRECTORY, "left_over": there}
    if not enabled:
        return {**made, "problem": ""}
    addresses = {node["name"]: node.get("address", "") for node in nodes if not node.get("witness")}
    own = addresses.pop(asked["name"], "")
    peer = next(iter(addresses.values()), "")
    networks = {network for node in nodes for network in node.get("egress_networks", ())}
    content = conntrackd_conf.text(own, peer, interface, sorted(networks), entries or ENTRIES)
    return {**made, "content": content, "peer": peer, "left_over": [], "problem": _lacking(host)}


def _lacking(host: t.Mapping[str, t.Any]) -> str:
    """A program that is missing where the role manages no packages."""
    for path, why in sorted(host.get("executable_problems", {}).items()):
        if path.rpartition("/")[2] in ("conntrack", "conntrackd"):
            return (
                f"{VARIABLE} (got 'conntrackd'): {path} {why}, and nat_instance_manage_packages is false; install the "
                "packages conntrack and conntrackd (on RHEL: conntrack-tools), or leave it out"
            )
    return ""
