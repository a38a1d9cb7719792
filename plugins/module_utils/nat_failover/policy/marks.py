# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marks of fences that count, and those that do not. Pure. The caller reads the wall clock.

A mark prevents the fences of other nodes. So one that no node of this cluster wrote, or that cannot
belong to a present fence, is void: it is reported as drift and has no effect.
"""

from __future__ import annotations

import typing as t

from ..model import liveness
from ..model.cluster import EC2_STOPPED, EC2_STOPPING, TAG_FENCE, InstanceView
from ..model.evidence import FORGED, NOTHING_HEARD, UNSIGNED, Heard, Mark
from ..model.settings import Config
from .pause import CLOCKS_DIFFER

STOP, STARTED = "stop", "started"  # stages
LONGEST = 48  # characters of a mark in a report
# Seconds after which the mark of another node belongs to no present fence of an instance that runs
OLDEST = 7200.0
# Seconds from the start of the service in which a fence that an older version began is finished
UNSIGNED_FOR = 600.0


class Reading(t.NamedTuple):
    """All that the judgement of a mark rests on."""

    config: Config
    instances: t.Mapping[str, InstanceView]
    heard: t.Mapping[str, Heard]
    wall_time: float  # seconds since 1970
    age: float  # seconds since this service started


def judge(found: t.Mapping[str, Mark], reading: Reading) -> tuple[dict[str, Mark], dict[str, str]]:
    """(marked node -> its mark, tag and node -> line) for marks that count, and those that do not."""
    counting, void = {}, {}
    for name, mark in found.items():
        refusal = _refusal(name, mark, reading)
        if not refusal:
            counting[name] = mark
            continue
        instance = reading.instances[name].instance_id
        void[f"{TAG_FENCE} of {name}"] = (
            f"the tag {TAG_FENCE}={mark.value[:LONGEST]!r} of {name} ({instance}) {refusal}, and counts for nothing; "
            "remove the tag, and find its writer in CloudTrail (ec2:CreateTags)"
        )
    return counting, void


def _refusal(name: str, mark: Mark, reading: Reading) -> str:
    """The reason why a mark is void, or "": the first that holds."""
    fencer, config = mark.fencer, reading.config
    state = reading.instances[name].state
    ended = state in (EC2_STOPPING, EC2_STOPPED)  # the fence has stopped it, so a start is due
    age = reading.wall_time - mark.written
    rows = (
        (mark.stage not in (STOP, STARTED), "is no mark of a fence"),
        (mark.seal == FORGED, "has no valid MAC of the cluster's heartbeat key"),
        (mark.seal == UNSIGNED and not _is_of_older_version(mark, reading, ended), "has no MAC"),
        (fencer == name, "names the node itself as its fencer"),
        (fencer in config.witnesses, f"names the witness {fencer}, which fences no node"),
        (not ended and fencer not in _names(config), f"names {fencer!r}, which is no node of this cluster"),
        (bool(mark.written) and age < -CLOCKS_DIFFER, "was written in the future"),
        (
            bool(mark.written) and not ended and fencer != config.self_name and age > OLDEST,
            f"is {int(age / 3600)} hours old while the instance is {state}",
        ),
    )
    return next((reason for holds, reason in rows if holds), "")


def _is_of_older_version(mark: Mark, reading: Reading, ended: bool) -> bool:
    """Whether a mark without a seal may be of a node of an older version, which does not seal.

    Its heartbeats show the version. A service that was upgraded in the middle of a fence finishes
    what it began.
    """
    if liveness.is_older_version(reading.heard.get(mark.fencer, NOTHING_HEARD)):
        return True
    return ended and mark.fencer in _names(reading.config) and reading.age < UNSIGNED_FOR


def _names(config: Config) -> set[str]:
    return {node.name for node in config.nodes}
