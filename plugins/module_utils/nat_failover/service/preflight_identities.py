# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in identities that only EC2 shows."""

from __future__ import annotations

import re
import typing as t

from ..aws.ec2 import Ec2
from ..model.cluster import AddressView, InstanceView
from ..model.evidence import Evidence, SelfCheck
from ..model.memory import Memory
from ..model.settings import Config
from ..policy import identities
from ..policy.case import Case


def problems(config: Config, ec2: Ec2, instances: t.Mapping[str, InstanceView]) -> list[str]:
    """A line for each Elastic IP that would stay where it is, or private address that is missing.

    The service reports the same lines as drift. Nothing is read without identities. Raises
    ``Ec2Error``.
    """
    if not config.identities or config.me.witness:
        return []
    views = ec2.describe_addresses([each.allocation for each in config.identities.values()])
    evidence = Evidence(0.0, SelfCheck(), {}, {}, instances, addresses=views)
    _memory, found = identities.plan(Case.of(config, Memory(0.0), evidence), ())
    me = instances[config.self_name]
    return [*found.drift.values(), *_own_address(config, me), *_other_zones(config, me, views)]


def _own_address(config: Config, me: InstanceView) -> list[str]:
    """The lack of a public address of this node itself, which its own packets leave with."""
    if me.public_address != "":
        return []
    text = (
        f"{config.self_name} has no public address of its own at {me.address}, and EC2 calls, proofs of forwarding and "
        "new connections during a takeover need one beside egress_address; associate an Elastic IP with it"
    )
    return [text]


def _other_zones(config: Config, me: InstanceView, views: t.Mapping[str, AddressView]) -> list[str]:
    """Elastic IPs that AWS does not let into the zone of this node.

    A network border group has the name of the region, or of a local zone without its letter, or of
    a Wavelength Zone (AWS: EC2 API Reference, AvailabilityZone).
    """
    here = re.sub(r"(?<=[0-9])[a-z]$", "", me.availability_zone or "")
    lines = []
    for identity in config.nat.identities:
        allocation = config.identities[identity.name].allocation
        group = views[allocation].border_group
        if here and group and group != here:
            public, me_in = views[allocation].public, f"{config.self_name} in {me.availability_zone}"
            lines.append(
                f"{allocation} ({public}) is of the network border group {group}, and {me_in} can carry those of {here}"
                f" only; allocate one of {here}, or move the node"
            )
    return lines
