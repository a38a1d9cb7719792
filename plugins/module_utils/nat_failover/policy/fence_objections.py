# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reasons against a fence, and the steps that EC2 takes on an instance. Pure.

``objections`` lists all of them with their words, so that ``explain`` shows those that do not hold,
too.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import ACTIVE, EC2_RUNNING, TAG_DRAINED, TAG_FENCE, TAG_MAINTENANCE
from ..model.evidence import FAILED, NOTHING_HEARD
from ..model.memory import Memory
from . import early
from .case import Fence
from .marks import STOP

HOUR = 3600.0
MARKED = "marked"  # the stage before the first call that stops anything
ENDING = ("stop", "reboot")  # the steps that end what the peer does
# The steps that a fence policy may take, the preferred one first. The next one is the fall-back for
# an instance on which EC2 does not take the one before
ENDINGS: t.Mapping[str, tuple[str, ...]] = {"stop_start": ("stop", "reboot"), "reboot": ("reboot",), "none": ()}


def objection(fence: Fence) -> str:
    """The reason why this peer must not be fenced now, or "": the first that holds."""
    rows = objections(fence)
    return next((reason for holds, reason in rows if holds), "")


def spent(memory: Memory, now: float) -> int:
    """The number of stops and reboots that this node has begun within an hour."""
    return len([at for at in memory.fences if now - at < HOUR])


def _reserved(fence: Fence) -> int:
    """The number of other peers that carry the mark of this node and are stopped before this one."""
    me, peers = fence.case.config.self_name, fence.case.memory.peers
    marked = [
        name
        for name, mark in fence.case.evidence.marks.items()
        if (mark.fencer, mark.stage) == (me, STOP) and name in peers and peers[name].fence_stage in ("", MARKED)
    ]
    return sum(1 for name in marked if name != fence.name and (not fence.fencer or name < fence.name))


def objections(fence: Fence) -> tuple[tuple[bool, str], ...]:
    """All objections to a fence: (does it hold?, in words)."""
    (config, memory, evidence, owners, _unfit), name, peer, instance = fence
    now, own = evidence.now, evidence.instances.get(config.self_name)
    mark = evidence.marks.get(config.self_name)
    report = evidence.heard.get(name, NOTHING_HEARD).report
    # L6 only a peer once seen healthy is fenced: the peer, an operator or EC2 may have announced an
    # end.
    announced = report is not None and report.state != ACTIVE
    tagged = TAG_MAINTENANCE in instance.tags or TAG_DRAINED in instance.tags
    # L3 one fence an incident: silence counts from the last sign of life. It does not count in a
    # pause, in which no node may write one. A lower rank waits longer. The reading of the flare
    # must be recent.
    signs = (
        peer.suspected_at,
        peer.flare_at,
        peer.item_at,
        peer.took_own_claim_at,
        memory.awake_since,
        memory.paused_at,
    )
    silence = now - max(at for at in signs if at is not None)
    wait = config.fence.after + config.fence.stagger * config.rank(config.self_name)
    # An early verdict may rest on an older reading, a fence never.
    unread = now - instance.read_at > config.ec2.poll + config.ec2.read_timeout
    unread = unread or early.is_unread(fence.case.about(name, peer))
    # L2 route and fence are two decisions: the routes come first, also those of new tables.
    tables = evidence.tables_at is None or now - evidence.tables_at > 2 * config.ec2.poll + config.ec2.read_timeout
    pointing = {owners.get(route.target or "") for route in evidence.routes.values()}
    # A repetition of a stop does not count twice.
    again = peer.fence_stage == "stop" and peer.fence_at in memory.fences
    begun = spent(memory, now) + _reserved(fence) - again
    hopeless = _hopeless(fence)
    return (
        # An operator's order takes the place of this verdict, and of no other objection.
        (peer.verdict != FAILED and not fence.order, f"its verdict is {peer.verdict}"),
        (name in config.witnesses, "it is a witness"),
        (not peer.seen_healthy, "it was never seen healthy"),
        (announced, f"it reported that it is {report.state if report else ''}"),
        (instance.state != EC2_RUNNING, f"EC2 shows it as {instance.state}"),
        (tagged, "it is tagged as drained or under maintenance"),
        (own is None or (mark is not None and mark.stage == STOP), f"a peer is fencing this node (tag {TAG_FENCE})"),
        (silence < wait, f"it was silent and without a flare for {int(silence)} of {int(wait)} s"),
        (unread, f"its flare was read {int(now - instance.read_at)} s ago, too long ago"),
        (tables, "route tables were not listed lately"),
        (not evidence.routes or name in pointing, "a route still targets it"),
        (bool(hopeless), hopeless),
        (begun >= config.fence.max_per_hour, f"the budget of {config.fence.max_per_hour} fences an hour is spent"),
    )


def ending(fence: Fence) -> str:
    """The step that ends the peer: that of the policy, or its fall-back where EC2 refuses it for good.

    "" if EC2 refuses all of them.
    """
    return next((step for step in ENDINGS[fence.case.config.fence.policy] if not fence.refused(step)), "")


def _hopeless(fence: Fence) -> str:
    """Why no step could end the peer, or ""."""
    refusals = [fence.refused(step) for step in ENDINGS[fence.case.config.fence.policy]]
    return f"EC2 refuses it for good: {refusals[0]}" if refusals and all(refusals) else ""
