# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elastic IPs of claims that are here, which have not followed their claims for some time."""

from __future__ import annotations

import typing as t

from ..model.evidence import Evidence
from ..model.problem import Problem
from ..policy import address_order
from . import rows
from .parts import Parts


def problems(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    """A problem for each one. One that must not be taken is said as drift."""
    for row in rows.identities(parts, evidence):
        name, allocation = row["identity"], row["allocation"]
        since = rows.ago(evidence.now, parts.memory.astray.get(name))
        if since is None or since < address_order.GIVE_UP or row["follows"] is not False:
            continue
        if allocation in parts.plan.drift:
            continue
        here, holder = evidence.instances[parts.config.self_name].interface_id, row["holder"] or "nobody"
        text = (
            f"the Elastic IP {allocation} ({row['public']}) of {name} is with {holder}, and its routes are here; "
            "clients leave with the address of this node, and connections from before have ended"
        )
        by_hand = (
            f"aws ec2 associate-address --allocation-id {allocation} --network-interface-id {here} "
            f"--private-ip-address {row['address']} --allow-reassociation"
        )
        yield Problem("astray", name, text, since, details={"by_hand": by_hand})
