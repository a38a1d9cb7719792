# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken shells: each makes one mistake in carrying out, reading or reporting, around an intact policy."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import replace
from unittest import mock

from nat_failover.act import executor
from nat_failover.act.steps import AfterRoutes
from nat_failover.observe.collector import EvidenceCollector
from nat_failover.policy import marks, ownership, synchronised
from nat_failover.service import status


def _nothing(*arguments: t.Any, **more: t.Any) -> None:
    return None


async def _unconfirmed(steps: t.Sequence[t.Any], tools: t.Any) -> str:
    for step in steps:
        await step.apply(tools)
    return ""


async def _at_once(step: t.Any, tools: t.Any) -> str:
    return ""


_report = status.report


def _always_forwarding(parts: t.Any) -> t.Any:
    return replace(_report(parts), forwarding=True, fact="")


_plan_claims = ownership.plan_claims


def _only_if_synchronised(case: t.Any) -> t.Any:
    return _plan_claims(case) if not case.evidence.unsynchronised else ((), {})


# name -> (what it does wrong, the patches)
BROKEN_SHELLS: dict[str, tuple[str, tuple[tuple[t.Any, str, t.Any], ...]]] = {
    "never backs off": (
        "repeats a write at once, however often EC2 shows the old target (L9)",
        ((executor.Executor, "_back_off", _nothing),),
    ),
    "confirms nothing": ("takes every write for done (L9)", ((executor, "perform", _unconfirmed),)),
    "never flares": (
        "shows no sign of life while it suspects a peer (L3)",
        ((executor.Executor, "flare", _nothing),),
    ),
    "forwards always": (
        "reports that it forwards, whatever its checks find (L5)",
        ((status, "report", _always_forwarding),),
    ),
    "honours ghosts": (
        "takes every mark of a fence for one of its cluster (L2)",
        ((marks, "judge", lambda found, reading: (found, {})),),
    ),
    "waits for no route": (
        "moves an Elastic IP at once that comes after its routes",
        ((AfterRoutes, "apply", _at_once),),
    ),
    "waits for flows for ever": (
        "takes its claims back only once the peer's connections have arrived",
        ((synchronised, "FLOWS_WITHIN", float("inf")),),
    ),
    "no heir without conntrackd": (
        "takes nothing over while connections are not synchronised",
        ((ownership, "plan_claims", _only_if_synchronised),),
    ),
    "asks nothing": (
        "reads EC2 and the internet at its own pace only, whatever the policy asks for",
        ((EvidenceCollector, "demand", _nothing),),
    ),
}


@contextlib.contextmanager
def broken(name: str) -> t.Iterator[None]:
    """While this lasts, all shells make that mistake. ``""``: none."""
    with contextlib.ExitStack() as stack:
        for owner, attribute, value in BROKEN_SHELLS[name][1] if name else ():
            stack.enter_context(mock.patch.object(owner, attribute, value))
        yield
