# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines for an operator about what EC2 refuses for good, and about impostors. Pure.

Each line names the resource, the evidence, the consequence and the remedy.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import TAG_FLARE, TAG_NODE
from ..model.evidence import Evidence
from ..model.settings import Config
from .fence_objections import ENDING, ENDINGS

# Tags of one resource, without those of AWS itself (EC2 User Guide, "Tag restrictions")
MOST_TAGS = 50
OF_AWS = "aws:"
SETTLED = 2.0  # polls of EC2, within which a peer may have moved to a new address


def standing(config: Config, evidence: Evidence) -> dict[str, str]:
    """Key -> line, of everything that stands now.

    A key is the code of a problem (``model/problem.py``) and its subject.
    """
    return {
        **_unseen(config, evidence),
        **_refused(config, evidence),
        **_strangers(config, evidence),
        **_addresses(config, evidence),
    }


def used_tags(tags: t.Iterable[str]) -> int:
    """The number of tags that count towards ``MOST_TAGS``."""
    return sum(1 for key in tags if not key.startswith(OF_AWS))


def _unseen(config: Config, evidence: Evidence) -> dict[str, str]:
    own, unseen = evidence.instances.get(config.self_name), evidence.me.unseen
    if config.me.witness or own is None or not own.instance_id:
        return {}
    full = TAG_FLARE not in own.tags and used_tags(own.tags) >= MOST_TAGS
    why = unseen or (f"{own.instance_id} has {used_tags(own.tags)} tags; remove one, for EC2 takes {MOST_TAGS}" * full)
    if not why:
        return {}
    text = (
        f"peers cannot see that this node lives when they do not hear it, for its flare (tag {TAG_FLARE}) cannot be "
        f"written; in a partition routes may move to a peer and stay there: {why}"
    )
    return {f"unseen {config.self_name}": text}


def _refused(config: Config, evidence: Evidence) -> dict[str, str]:
    if not evidence.refused:
        return {}
    found = {}
    names = {view.instance_id: name for name, view in evidence.instances.items()}
    steps = ENDINGS[config.fence.policy]
    for (step, instance), why in evidence.refused.items():
        name = names.get(instance)
        if name is None:
            continue
        left = [each for each in steps if (each, instance) not in evidence.refused]
        then = f"a fence of {name} will be a {left[0]} instead" if left else f"{name} will not be fenced"
        then = then if step in ENDING else f"{name} is left as it is"
        found[f"unfit {name} {step}"] = (
            f"EC2 refuses to {step.replace('_', '-')} {name} ({instance}), and {then}: {why}"
        )
    return found


def _strangers(config: Config, evidence: Evidence) -> dict[str, str]:
    found = {}
    for each in evidence.strangers:
        view = evidence.instances.get(each.name)
        new = view is None or view.read_at - each.first_at < SETTLED * config.ec2.poll
        if view is None or new or each.address in view.addresses:
            continue
        sender = each.instance_id or "an instance that EC2 does not show in this cluster"
        found[f"impostor {each.name} {each.address}"] = (
            f"{each.address} ({sender}) sends heartbeats in the name of {each.name}, and EC2 shows {each.name} as "
            f"{view.instance_id} at {view.address}; they do not count as life of {each.name}. Stop nat-failover on "
            f"{each.address}, or correct its configuration (self, instance ids) or the tags {TAG_NODE}"
        )
    return found


def _addresses(config: Config, evidence: Evidence) -> dict[str, str]:
    if not evidence.addresses_refused:
        return {}
    text = (
        "the Elastic IPs of identities stay where they are, so connections end with a takeover; routes move as ever: "
        f"{evidence.addresses_refused}"
    )
    return {f"unread_addresses {config.self_name}": text}
