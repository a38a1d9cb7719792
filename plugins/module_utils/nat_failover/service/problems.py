# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All problems of this moment, by the evidence of this node.

A further problem is a code in ``model/problem.py``, a line in one function here or in a file of
``SOURCES``, and a section in docs/problems.md.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..aws.client import DENIED, WITHOUT_CREDENTIALS
from ..aws.ec2 import THROTTLED, UNCERTAIN
from ..model.cluster import DRAINED, DRAINING
from ..model.evidence import Evidence
from ..model.problem import CODES, CRITICAL, Problem, ordered, parted
from ..observe.ec2_reader import Ec2Reader
from ..policy import fitness
from . import address_problems, peer_problems, route_problems, rows, service_problems
from .parts import Parts

# The codes of EC2's errors -> the code of the problem.
EC2_CODES: tuple[tuple[t.Collection[str], str], ...] = (
    (THROTTLED, "ec2_throttled"),
    (DENIED, "ec2_denied"),
    (WITHOUT_CREDENTIALS, "ec2_credentials"),
    (UNCERTAIN, "ec2_unreachable"),
)


def find(parts: Parts, evidence: Evidence) -> list[Problem]:
    """All problems, the worst first."""
    return list(_with_obstacle(ordered(problem for source in SOURCES for problem in source(parts, evidence))))


def cannot_act(problems: t.Iterable[Problem]) -> list[str]:
    """The codes of the problems for which this node could take nothing over now."""
    return [each.code for each in problems if each.code in INCAPABLE]


def hindrance(reader: Ec2Reader) -> str:
    """The code of the problem with EC2 for which this node could take nothing over. "": none."""
    code = _ec2_code(reader) if reader.problem else ""
    return code if code in INCAPABLE else ""


def _ec2_code(reader: Ec2Reader) -> str:
    return next((mine for codes, mine in EC2_CODES if reader.problem_code in codes), "ec2_error")


def _with_obstacle(found: t.Sequence[Problem]) -> t.Iterator[Problem]:
    """The problems.

    The remedy of a dark route begins with the remedy of the obstacle to its takeover.
    """
    obstacle = next((each for code in OBSTACLES for each in found if each.code == code), None)
    for each in found:
        if each.code == "dark" and obstacle is not None:
            yield replace(each, remedy=f"{obstacle.do} ({obstacle.code}); by hand: {each.details['by_hand']}")
        else:
            yield each


# --- actions --------------------------------------------------------------------------------------


def _actions(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    now = evidence.now
    for each, next_at in parts.executor.refused():
        problem, _semicolon, remedy = each.problem.partition("; ")
        text = (
            f"{each.wanted}; tried {each.attempts} times, last {now - each.last_at:.0f} s ago, next in "
            f"{max(0.0, next_at - now):.0f} s: {problem}"
        )
        yield Problem("action_refused", " ".join(each.key[1:] or each.key), text, now - each.first_at, remedy=remedy)
    if evidence.paused:
        yield Problem("paused", "", evidence.paused)
    if parts.config.mode == "observe":
        yield Problem("observe", "", "mode is observe: this node writes nothing")
    for key, line in parts.plan.warnings.items():
        code, _space, subject = key.partition(" ")
        text, remedy = (line, "") if code == "impostor" else parted(line)  # or its code has the remedy
        yield Problem(code, subject, text, remedy=remedy)
    for line in parts.events.withheld.values():
        yield Problem("withheld", "", line)


# --- this node ------------------------------------------------------------------------------------


def _node(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    config, collector, name = parts.config, parts.collector, parts.config.self_name
    mismatch = fitness.identity_mismatch(config, evidence)
    if mismatch and not config.me.witness:
        yield Problem("identity", name, mismatch)
    if not collector.judged:
        yield Problem("unchecked", name, "this node has not checked itself since the start of its service")
    elif not evidence.me.internet:
        since = rows.ago(evidence.now, evidence.me.internet_at)
        yield Problem("internet", name, "the internet does not answer this node", since)
    instance = evidence.instances.get(name)
    details = {"interface": config.interface, "instance_id": instance.instance_id if instance else "INSTANCE"}
    for code, text in collector.forwarding_check.defects.items():
        found = code if code in CODES else "forwarding"
        remedy = BY_FOREIGN_RULES if found == "canary" and _foreign(parts) else ""
        yield Problem(found, name, f"this node does not forward: {text}", details=details, remedy=remedy)
    if evidence.me.fact and not collector.forwarding_check.defects and collector.judged:
        yield Problem("forwarding", name, f"this node does not forward: {evidence.me.fact}")
    yield from _drain(parts)
    yield from _apis(parts, evidence)


def _foreign(parts: Parts) -> bool:
    """Whether rules of others may drop clients' packets."""
    finding = parts.collector.forwarding_check.findings.get("foreign_rules")
    return finding is not None and bool(finding.defect)


def _drain(parts: Parts) -> t.Iterator[Problem]:
    drain, name = parts.drain, parts.config.self_name
    if drain.state in (DRAINING, DRAINED):
        yield Problem(
            "interruption" if drain.interruption else "drained", name, f"{name} is {drain.state}: {drain.why}"
        )


def _apis(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    reader, collector, name = parts.collector.reader, parts.collector, parts.config.self_name
    if reader.problem:
        problem, _semicolon, remedy = reader.problem.partition("; ")
        code, text, also = _ec2_code(reader), f"EC2: {problem}", peer_problems.hindered(evidence)
        if also:
            text += f"; {', '.join(also)} cannot use it either"
        yield Problem(code, name, text, rows.ago(evidence.now, reader.problem_since), remedy=remedy)
    elif not evidence.me.ec2 and collector.judged:
        yield Problem("ec2_unreachable", name, "EC2 has not answered this node yet")
    if collector.interruption_watch.problem:
        yield Problem("imds", name, f"the metadata service does not answer: {collector.interruption_watch.problem}")
    if parts.witness.table is not None and parts.witness.problem:
        text = f"the witness table does not answer, so no fence is begun: {parts.witness.problem}"
        yield Problem("witness_table", name, text)


def _service(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    check, name = parts.collector.forwarding_check, parts.config.self_name
    if check.canary.gone:
        yield Problem("canary_gone", name, f"the canary is {check.canary.state}")
    for key, finding in check.findings.items():
        if finding.defect and finding.advice:
            yield Problem(key if key in CODES else "warning", name, finding.defect, remedy=finding.advice)
    for text in check.capacity.warnings:
        what, advice = parted(text)
        yield Problem("warning", name, what, remedy=advice)
    if parts.config.state_sync and parts.collector.sync.problem:
        yield Problem("state_sync", name, f"connections are not synchronised: {parts.collector.sync.problem}")
    if parts.settings.refused:
        text = f"the changed configuration was refused: {parts.settings.refused}"
        yield Problem("reload_refused", name, text)
    if parts.events.unwritten():
        text = f"the history in {parts.config.state_directory} is not written: {parts.events.unwritten()}"
        yield Problem("history_unwritten", name, text)
    if parts.events.lost():
        yield Problem("lost_lines", name, f"{parts.events.lost()} lines of the journal and the history were lost")


SOURCES: tuple[t.Callable[[Parts, Evidence], t.Iterator[Problem]], ...] = (
    route_problems.problems,
    address_problems.problems,
    _actions,
    _node,
    _service,
    service_problems.problems,
    peer_problems.problems,
)
# The problems with which this node could take nothing over: all critical ones but dark routes, and
# the decisions of an operator.
INCAPABLE = frozenset(
    [code for code, means in CODES.items() if means.level == CRITICAL and code != "dark"]
    + ["paused", "drained", "observe"]
)
# The problems that keep a fit node from taking a dark route, the decisions of an operator first.
OBSTACLES = ("paused", "drained", "observe", "action_refused", *dict.fromkeys(code for _codes, code in EC2_CODES))
BY_FOREIGN_RULES = "let the rules that foreign_rules names below accept the packets of clients, or remove them"
