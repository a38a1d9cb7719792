# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forged signs of life: flares, items and locks that no node wrote. Pure.

They have no effect (``model.liveness``, ``fence_lock``). This file reports them as drift. Only a
value that appears while this service runs is reported: an old one may be left over from a key that
was rotated, or from an older version. A stranger who writes often causes one event, not many.
"""

from __future__ import annotations

import typing as t

from ..model import liveness
from ..model.cluster import TAG_FLARE
from ..model.evidence import FORGED, NOTHING_HEARD, Evidence, Sign
from ..model.memory import Memory, Seen
from . import fence_lock

SHOWN = 60.0  # seconds for which a forged value is reported, also if it is gone before
ONE_KEY = "give all nodes one heartbeat key: run the role on all of them"  # the remedy of different keys
LONGEST = 48  # characters of a forged value in a report
FLARES, ITEMS, LOCK, MARKS = "flare", "item", "lock", "mark"


def note(memory: Memory, evidence: Evidence) -> Memory:
    """The memory with the values of this reading. The first value of each kind is only noted."""
    found = {(kind, name): sign.value for kind, name, sign in _signs(evidence)}
    found.update({(MARKS, name): mark.value for name, mark in evidence.marks.items()})
    lock = evidence.witness.lock if evidence.witness is not None else None
    if evidence.witness is not None:
        found[LOCK, ""] = lock.value if lock is not None else ""
    new = {key: value for key, value in found.items() if key not in memory.seen or memory.seen[key].value != value}
    if not new:
        return memory
    forged = {(kind, name) for kind, name, sign in _signs(evidence) if _is_forged(name, sign, evidence)}
    if lock is not None and not fence_lock.is_genuine(lock, evidence):
        forged.add((LOCK, ""))
    seen = dict(memory.seen)
    for key, value in new.items():
        before = seen.get(key)
        is_forged = before is not None and key in forged
        forged_at = evidence.now if is_forged else before.forged_at if before is not None else None
        seen[key] = Seen(value, is_forged, forged_at, evidence.now)
    return memory.updated(seen=seen)


def drift(memory: Memory, evidence: Evidence) -> dict[str, str]:
    """Forged values, as long as they stand and a little longer: what and where -> line."""
    return {
        _where(kind, name): _line(kind, name, seen.value, evidence)
        for (kind, name), seen in sorted(memory.seen.items())
        if seen.forged or (seen.forged_at is not None and evidence.now - seen.forged_at < SHOWN)
    }


def leaps(evidence: Evidence) -> dict[str, str]:
    """Packets whose sequence number leapt, for a minute: sender -> line. They were refused."""
    return {
        f"heartbeats of {name}": (
            f"a heartbeat with the name of {name} leapt from number {heard.leapt_from} to {heard.leapt_to}, which no "
            "service reaches; it was refused. Another holder of the heartbeat key sent it: find out which host, then "
            "replace the key with playbooks/rotate_key.yml"
        )
        for name, heard in evidence.heard.items()
        if heard.leapt_at is not None and evidence.now - heard.leapt_at < SHOWN
    }


def _signs(evidence: Evidence) -> t.Iterator[tuple[str, str, Sign]]:
    for kind, signs in ((FLARES, evidence.flares), (ITEMS, evidence.items)):
        for name, sign in signs.items():
            if name in evidence.heard:  # its peers report the flare of this node
                yield kind, name, sign


def _is_forged(name: str, sign: Sign, evidence: Evidence) -> bool:
    """Whether it is certain that no node wrote this sign.

    A peer that was not heard may be of any version.
    """
    heard = evidence.heard.get(name, NOTHING_HEARD)
    unsigned = heard.report is not None and not liveness.believed(sign, heard)
    return bool(sign.value) and (sign.seal == FORGED or unsigned)


def _where(kind: str, name: str) -> str:
    return {
        FLARES: f"{TAG_FLARE} of {name}",
        ITEMS: f"item of {name} in the witness table",
        LOCK: "fence lock in the witness table",
    }[kind]


def _line(kind: str, name: str, value: str, evidence: Evidence) -> str:
    view = evidence.instances.get(name)
    instance = f" ({view.instance_id})" if view is not None and view.instance_id else ""
    what = {
        FLARES: f"the tag {TAG_FLARE} of {name}{instance}",
        ITEMS: f"the item of {name}{instance} in the witness table",
        LOCK: "the fence lock in the witness table",
    }[kind]
    call = "ec2:CreateTags" if kind == FLARES else "dynamodb:PutItem"
    return (
        f"{what} was written by no node of this cluster (now {value[:LONGEST]!r}): it has no valid MAC and counts for "
        f"nothing; {ONE_KEY}. If they have it, find the writer in CloudTrail and take {call} away from it"
    )
