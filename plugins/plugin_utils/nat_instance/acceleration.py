# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of nat_instance_acceleration that a host lacks. Pure: no Ansible."""

from __future__ import annotations

import typing as t

from ...module_utils.nat_failover.model.cpu_list import ALL, NONE, cpus_of


def problem(asked: t.Mapping[str, t.Any], host: t.Mapping[str, t.Any]) -> str:
    """The reason, in one line, for which this host cannot have what is asked; empty: there is none.

    ``host`` is what the module nat_failover_host_info returns. A list that is no list is the
    engine's to refuse.
    """
    given = asked["acceleration"]
    if asked["witness"]:
        return ""  # it carries no packets
    if given.get("flowtable") and not host.get("flowtable"):
        return (
            f"nat_instance_acceleration.flowtable (got true): the kernel {host.get('kernel', '')} of this host has no "
            "flow tables (nft_flow_offload); leave it out, or boot a kernel with CONFIG_NFT_FLOW_OFFLOAD"
        )
    cpus, online = given.get("receive_cpus") or NONE, host.get("online_cpus") or ""
    if cpus in (ALL, NONE) or not online:
        return ""
    try:
        lacking = cpus_of(cpus) - cpus_of(online)
    except ValueError:
        return ""
    if not lacking:
        return ""
    return (
        f"nat_instance_acceleration.receive_cpus (got {cpus!r}): this host has no CPU "
        f"{', '.join(map(str, sorted(lacking)))}; it has {online}; name some of these, or write all"
    )
