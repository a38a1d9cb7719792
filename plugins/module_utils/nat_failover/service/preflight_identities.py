# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in identities that only EC2 shows."""

from __future__ import annotations

import typing as t

from ..aws.ec2 import Ec2
from ..model.cluster import InstanceView
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
    return list(found.drift.values())
