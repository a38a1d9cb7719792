# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a plan to actions: which steps carry out each of its parts, in which order."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..model.cluster import TAG_FENCE, Claim
from ..model.plan import LOCK_STEPS, FenceStep, Plan, SetAddress, SetRoute, Write
from ..policy.marks import STARTED, STOP
from .instance_steps import (
    ChangeLock,
    CreateTags,
    DeleteTags,
    RebootInstances,
    RequireUnfenced,
    StartInstances,
    StopInstances,
)
from .steps import AfterRoutes, Answer, AssociateAddress, ReplaceRoute, RequireHolder, Step


@dataclass(frozen=True)
class Action:
    """Ordered steps under one key. A key that is under way, or backs off, is not planned again."""

    key: tuple[str, ...]
    steps: tuple[Step, ...]
    kind: str  # of the event: adopt, return, mend, address, fence
    reason: str
    details: t.Mapping[str, t.Any] = field(default_factory=dict)  # of the event
    wanted: Write | None = None  # the part of the plan that it carries out


MarkOf = t.Callable[[FenceStep, str], str]  # (step, stage) -> the value of the mark
_Steps = t.Callable[[FenceStep, MarkOf], tuple[Step, ...]]
FENCE_STEPS: t.Mapping[str, _Steps] = {
    "mark": lambda it, mark: (
        RequireUnfenced(it.peer, it.instance_id, it.ignores),
        CreateTags(it.peer, it.instance_id, TAG_FENCE, mark(it, STOP)),
    ),
    "stop": lambda it, mark: (StopInstances(it.peer, it.instance_id),),
    "force_stop": lambda it, mark: (StopInstances(it.peer, it.instance_id, force=True),),
    "start": lambda it, mark: (
        StartInstances(it.peer, it.instance_id),
        CreateTags(it.peer, it.instance_id, TAG_FENCE, mark(it, STARTED)),
    ),
    "reboot": lambda it, mark: (
        RebootInstances(it.peer, it.instance_id),
        CreateTags(it.peer, it.instance_id, TAG_FENCE, mark(it, STARTED)),
    ),
    "unmark": lambda it, mark: (DeleteTags(it.peer, it.instance_id, TAG_FENCE),),
    **dict.fromkeys(LOCK_STEPS, lambda it, mark: (ChangeLock(it),)),
}


def actions(plan: Plan, mark: MarkOf) -> list[Action]:
    """A plan as actions, which may all be under way at the same time. ``mark`` makes marks.

    An action that comes after others waits for the answers to their writes by itself.
    """
    answers = {claim: Answer() for wanted in plan.addresses for claim in wanted.after}
    for claim in answers.keys() - {wanted.claim for wanted in plan.routes}:
        answers[claim].give(False)  # nobody writes it
    return [
        *(route_action(wanted, answers.get(wanted.claim)) for wanted in plan.routes),
        *(address_action(wanted, answers) for wanted in plan.addresses),
        *(fence_action(wanted, mark) for wanted in plan.fence),
    ]


def route_action(wanted: SetRoute, answer: Answer | None = None) -> Action:
    """An adoption, a return or a repair of a claim. ``answer``: where others wait for its write."""
    return Action(
        wanted.key,
        (ReplaceRoute(wanted.claim, wanted.interface_id, answer),),
        wanted.kind,
        wanted.reason,
        {"route_table": wanted.claim.route_table, "action": wanted.kind},
        wanted,
    )


def address_action(wanted: SetAddress, answers: t.Mapping[Claim, Answer]) -> Action:
    """An Elastic IP that follows its claims, after or beside them.

    An old reading is renewed while the routes are written.
    """
    steps: list[Step] = [AssociateAddress(wanted.allocation, wanted.interface_id, wanted.private)]
    if wanted.after:
        steps.insert(0, AfterRoutes({claim: answers[claim] for claim in wanted.after}))
    if wanted.renews:
        steps.insert(0, RequireHolder(wanted.allocation, wanted.before))
    details = {"allocation": wanted.allocation, "identity": wanted.identity}
    return Action(wanted.key, tuple(steps), wanted.kind, wanted.reason, details, wanted)


def fence_action(wanted: FenceStep, mark: MarkOf) -> Action:
    """One stage of a fence."""
    details = {"peer": wanted.peer, "step": wanted.step}
    return Action(wanted.key, FENCE_STEPS[wanted.step](wanted, mark), "fence", wanted.reason, details, wanted)
