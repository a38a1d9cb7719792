# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This node: whether it may write at all, and for how long it has been fit. Pure."""

from __future__ import annotations

from ..model.cluster import WITNESS
from ..model.evidence import Evidence
from ..model.memory import Memory
from ..model.settings import Config
from .case import Case

OLD_AFTER = 15.0  # seconds, at least, after which a reading of EC2 is old
OLD_POLLS = 3  # intervals of polling after which it is old


def assess(config: Config, memory: Memory, evidence: Evidence) -> Case:
    """A tick, with the reason why this node must write nothing, if there is one."""
    return Case.of(config, memory, evidence, unfit_reason(config, evidence))


def unfit_reason(config: Config, evidence: Evidence) -> str:
    """The first reason why this node must write nothing, or ""."""
    return next((text for holds, text in _unfit(config, evidence) if holds), "")


def unfit_reasons(config: Config, evidence: Evidence) -> list[str]:
    """All reasons why this node must write nothing, causes before symptoms."""
    return [text for holds, text in _unfit(config, evidence) if holds]


def _unfit(config: Config, evidence: Evidence) -> tuple[tuple[bool, str], ...]:
    """All conditions: (does it hold?, in words).

    Laws: L1 never make it worse, L4 isolated means silent. Without the internet neither the EC2 API
    nor a client is answered, so it comes first.
    """
    own = evidence.me
    mismatch = identity_mismatch(config, evidence)
    return (
        (own.state == WITNESS, "this node is a witness"),
        (bool(mismatch), mismatch),
        (not own.internet, "this node does not reach the internet"),
        (not own.ec2, "the EC2 API does not answer this node"),
        (not own.forwarding, f"this node does not forward ({own.fact})"),
    )


def identity_mismatch(config: Config, evidence: Evidence) -> str:
    """Why this machine is not the node that its configuration names, or "".

    Either it was replaced, or a second machine runs under its name.
    """
    view = evidence.instances.get(config.self_name)
    own_instance = evidence.me.instance_id or config.me.instance_id
    if not own_instance:
        return "this node does not know its instance id: the metadata service has not answered yet"
    if view is not None and view.instance_id not in ("", own_instance):
        return f"EC2 shows {config.self_name} as {view.instance_id}, and this machine is {own_instance}"
    return ""


def is_old(config: Config, read_at: float, now: float) -> bool:
    """Whether a reading of EC2 must not be taken for the present."""
    return now - read_at > max(OLD_AFTER, OLD_POLLS * config.ec2.poll)


def update_fitness(case: Case) -> Memory:
    """The memory with the start of the present fitness.

    Flaps are forgotten after a long quiet time at home (L7 return is damped).
    """
    config, memory, now = case.config, case.memory, case.evidence.now
    since = None
    if not case.unfit:
        since = memory.fit_since if memory.fit_since is not None else now
    quiet = memory.returned_at is not None and now - memory.returned_at > config.returns.maximum
    return memory.updated(fit_since=since, flaps=0 if quiet and memory.own_claims else memory.flaps)


def forbidden(case: Case) -> str:
    """The one gate before all writes: the reason that forbids them, or ""."""
    if case.config.mode == "observe":
        return "mode is observe"
    return case.evidence.paused or case.unfit
