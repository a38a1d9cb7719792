# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next step of a fence, by the stage in its mark and by what EC2 shows. Pure.

``RULES`` holds the steps. A fencer that restarts in the middle reads in the mark what is left to
do: a node that it stopped is started again.
"""

from __future__ import annotations

import typing as t

from ..model.cluster import EC2_RUNNING, EC2_STOPPED, EC2_STOPPING
from ..model.evidence import FAILED, HEALTHY
from .case import Fence
from .fence_objections import MARKED, ending, objection
from .marks import STOP
from .signs import MARKS

SETTLED = 10.0  # seconds after which EC2 surely shows the effect of a call


def next_step(fence: Fence) -> tuple[str, str]:
    """The next step for one peer: (step, reason), or ("", "")."""
    fencer = fence.fencer
    if fencer:
        return go_on(fence) if fencer == fence.case.config.self_name else _take_over(fence)
    begun = fence.peer.fence_stage not in ("", MARKED)
    if not (fence.peer.verdict == FAILED or fence.order) or begun or objection(fence):
        return "", ""
    return "mark", f"{fence.order or 'it has failed'}; the mark comes before the stop"


def _take_over(fence: Fence) -> tuple[str, str]:
    """The step for a peer that another node has marked: a failed fencer stops and starts nothing."""
    other = fence.case.memory.peers.get(fence.fencer)
    if fence.stage != STOP or not (other is None or other.verdict == FAILED):
        return "", ""
    if fence.instance.state == EC2_STOPPED:
        return "start", f"{fence.fencer} stopped it and has failed since"
    seen = fence.case.memory.seen.get((MARKS, fence.name))
    patience = fence.case.config.fence.stop_timeout
    if seen is None or fence.now - seen.since <= patience or fence.instance.state != EC2_RUNNING:
        return "", ""
    if fence.peer.verdict != FAILED or fence.peer.fence_stage not in ("", MARKED) or objection(fence):
        return "", ""
    return "mark", f"{fence.fencer} marked it {int(fence.now - seen.since)} s ago, stopped nothing, and has failed"


def go_on(fence: Fence) -> tuple[str, str]:
    """The next step of a fence that this node has begun: (step, reason), or ("", "")."""
    rule = next(rule for rule in RULES if rule.applies(fence))
    return rule.step, rule.reason(fence) if rule.step else ""


def _is_stopped(fence: Fence) -> bool:
    return fence.stage == "stop" and fence.instance.state == EC2_STOPPED


def _hangs(fence: Fence) -> bool:
    stopping = fence.stage == "stop" and fence.instance.state == EC2_STOPPING and not fence.refused("force_stop")
    return stopping and _stopping_for(fence) > fence.case.config.fence.stop_timeout


def _stopping_for(fence: Fence) -> float:
    """Seconds since the stop began, as far as this run of the service knows."""
    return fence.now - (fence.peer.fence_at if fence.peer.fence_stage else fence.case.memory.awake_since)


def _is_not_running(fence: Fence) -> bool:
    return fence.instance.state != EC2_RUNNING


def _may_unmark(fence: Fence) -> bool:
    # A stop may be under way although EC2 still shows "running". Without the mark the node would
    # stay stopped.
    stopped_at = fence.peer.fence_at if fence.peer.fence_stage == "stop" else 0.0
    since = max(fence.peer.since, fence.case.memory.awake_since, stopped_at)
    return fence.stage != "stop" or fence.now - since > SETTLED


def _is_healthy(fence: Fence) -> bool:
    return fence.peer.verdict == HEALTHY


def _is_healthy_for_sure(fence: Fence) -> bool:
    return _is_healthy(fence) and _may_unmark(fence)


def _is_stopped_already(fence: Fence) -> bool:
    return fence.stage != "stop" or fence.peer.fence_stage not in ("", MARKED, "stop")


def _is_spared(fence: Fence) -> bool:
    # The mark has been read back, so all objections are checked again: the peer may have shown a
    # sign of life.
    return bool(objection(fence))


def _is_spared_for_sure(fence: Fence) -> bool:
    return _may_unmark(fence) and _is_spared(fence)


def _is_to_reboot(fence: Fence) -> bool:
    return ending(fence) == "reboot"


def _always(fence: Fence) -> bool:
    return True


def _failed_for(fence: Fence) -> str:
    if fence.order:
        return fence.order
    silence = fence.now - (fence.peer.suspected_at if fence.peer.suspected_at is not None else fence.now)
    return f"it has failed, silent and without a flare for {int(silence)} s"


class Rule(t.NamedTuple):
    """The first rule that ``applies`` names the next step. "" = wait."""

    applies: t.Callable[[Fence], bool]
    step: str
    reason: t.Callable[[Fence], str]


def _spared_because(fence: Fence) -> str:
    """The objection to a fence in words."""
    return objection(fence)


RULES: tuple[Rule, ...] = (
    Rule(_is_stopped, "start", lambda fence: f"{fence.fencer} stopped it"),
    Rule(_hangs, "force_stop", lambda fence: f"EC2 shows it as stopping for {int(_stopping_for(fence))} s"),
    Rule(_is_not_running, "", lambda fence: "the instance is on its way"),
    Rule(_is_healthy_for_sure, "unmark", lambda fence: "it is healthy again"),
    Rule(_is_healthy, "", lambda fence: "a stop may be under way"),
    Rule(_is_stopped_already, "", lambda fence: "one stop an incident"),
    Rule(_is_spared_for_sure, "unmark", _spared_because),
    Rule(_is_spared, "", lambda fence: "a stop may be under way"),
    Rule(_is_to_reboot, "reboot", _failed_for),
    Rule(_always, "stop", _failed_for),
)
