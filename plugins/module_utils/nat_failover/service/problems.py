# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All problems of this moment, by the evidence of this node.

A further problem is a code in ``model/problem.py``, a line in one function here, and a section in
docs/problems.md.
"""

from __future__ import annotations

import typing as t

from ..aws.client import DENIED, WITHOUT_CREDENTIALS
from ..aws.ec2 import THROTTLED, UNCERTAIN
from ..model.cluster import (
    ACTIVE,
    DRAINED,
    DRAINING,
    ENDED,
    GONE,
    STOPPING,
    TAG_DRAINED,
    Claim,
    InstanceView,
    RouteView,
    owners_of,
)
from ..model.evidence import (
    FAILED,
    HEALTHY,
    NOTHING_HEARD,
    PARTITIONED,
    SICK,
    SILENT,
    UNKNOWN,
    UNMANAGED,
    Evidence,
)
from ..model.memory import ServiceMemory
from ..model.problem import CODES, CRITICAL, Problem, ordered
from ..policy import fitness, ownership, services, verdict
from ..policy.case import Case
from . import rows
from .parts import Parts

PEERS = {
    FAILED: "peer_failed",
    SICK: "peer_sick",
    UNMANAGED: "peer_unmanaged",
    PARTITIONED: "peer_partitioned",
    SILENT: "peer_silent",
}
# The codes of EC2's errors -> the code of the problem.
EC2_CODES: tuple[tuple[t.Collection[str], str], ...] = (
    (THROTTLED, "ec2_throttled"),
    (DENIED, "ec2_denied"),
    (WITHOUT_CREDENTIALS, "ec2_credentials"),
    (UNCERTAIN, "ec2_unreachable"),
)


def find(parts: Parts, evidence: Evidence) -> list[Problem]:
    """All problems, the worst first."""
    return ordered(problem for source in SOURCES for problem in source(parts, evidence))


def cannot_act(problems: t.Iterable[Problem]) -> list[str]:
    """The codes of the problems for which this node could take nothing over now."""
    return [each.code for each in problems if each.code in INCAPABLE]


# --- routes ---------------------------------------------------------------------------------------


def _routes(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    owners = owners_of(evidence.instances, parts.config.witnesses)
    old = [claim for claim, view in evidence.routes.items() if rows.is_old(parts, view.read_at, evidence.now)]
    if old:
        age = max(evidence.now - evidence.routes[claim].read_at for claim in old)
        yield Problem("old_reading", "", f"{len(old)} of {len(evidence.routes)} routes were last read {age:.0f} s ago")
    for claim, view in evidence.routes.items():
        owner, details = owners.get(view.target or ""), {"route_table": claim.route_table}
        drift = parts.plan.drift.get(str(claim))
        dark = rows.served(parts, evidence, claim, view) is False
        if dark:
            text = f"{claim} (home {claim.home}) -> {_dark(parts, evidence, owner, claim, view)}"
            yield Problem("dark", str(claim), text, details={"by_hand": _by_hand(parts, evidence, claim, view)})
        if drift is not None and (not dark or rows.leads_past_nat(claim, view)):
            remedy = {"home": claim.home, **details, "by_hand": _home_by_hand(evidence, claim)}
            yield Problem("drift", str(claim), drift, details=remedy)
        elif not dark and owner is not None and owner != claim.home:
            text = f"{claim} is with {owner}, away from its home {claim.home}: {_why_away(parts, evidence, claim)}"
            yield Problem("away", str(claim), text, details=details)
    others = {str(claim) for claim in evidence.routes}
    for key, line in parts.plan.drift.items():
        if key not in others:
            address = key.startswith("eipalloc-")
            what = "the Elastic IP or the private address" if address else "the tag or the instance"
            yield Problem("drift", key, line, remedy=f"correct {what} that the line names")


def _dark(parts: Parts, evidence: Evidence, owner: str | None, claim: Claim, view: RouteView) -> str:
    """The reason why a route leads nowhere."""
    if rows.leads_past_nat(claim, view):
        return f"{view.target}, an internet gateway: hosts without a public address reach nothing"
    if owner is None:
        return f"{view.target or 'no target'}, which EC2 shows as {view.state}"
    if owner == parts.config.self_name:
        return f"{owner}, this node, which does not forward"
    peer, instance = parts.memory.peers.get(owner), evidence.instances[owner]
    return f"{owner}, which is {peer.verdict if peer else UNKNOWN} ({instance.state} in EC2)"


def _by_hand(parts: Parts, evidence: Evidence, claim: Claim, view: RouteView) -> str:
    """The command that gives a dark claim to a node that forwards, if this node knows one."""
    fit = evidence.me.forwarding and evidence.me.internet
    names = [parts.config.self_name] if fit and not parts.config.me.witness else []
    names += [name for name, peer in parts.memory.peers.items() if rows.SERVES.get(peer.verdict)]
    ids = [evidence.instances[name].interface_id for name in names if name in evidence.instances]
    found = next((each for each in ids if each), None)
    return rows.by_hand(claim, found, view.state) if found else "start a node that forwards"


def _home_by_hand(evidence: Evidence, claim: Claim) -> str:
    """The command that gives a claim back to its home."""
    home = evidence.instances.get(claim.home)
    return rows.by_hand(claim, home.interface_id if home and home.interface_id else "THE-INTERFACE-OF-" + claim.home)


def _why_away(parts: Parts, evidence: Evidence, claim: Claim) -> str:
    """The reason why a served claim is not at home, in words."""
    config, memory = parts.config, parts.memory
    if claim.home != config.self_name:
        peer, heard = memory.peers.get(claim.home), evidence.heard.get(claim.home, NOTHING_HEARD)
        state = heard.report.state if heard.report is not None else ACTIVE
        found = peer.verdict if peer is not None else UNKNOWN
        service = config.service_of.get(claim.destination)
        if found == HEALTHY and heard.report is not None and service in heard.report.unwell:
            return f"its service {service} does not work on {claim.home}"
        return f"{claim.home} is {found}{'' if state == ACTIVE else ', ' + state}"
    if parts.drain.why:
        return f"this node is {parts.drain.state} ({parts.drain.why})"
    if config.returns.policy != "auto":
        return "the return policy is manual"
    reasons = [*fitness.unfit_reasons(config, evidence), *filter(None, [evidence.paused])]
    if reasons:
        return "; ".join(reasons)
    case = Case.of(config, memory, evidence)
    if not services.settled(case, claim):
        return _service_away(case, claim)
    proven = ownership.proven_for(memory, evidence.now)
    needed = ownership.return_after(config, memory)
    flapped = f", doubled by {memory.flaps} flaps" if memory.flaps else ""
    return f"home in {max(0.0, needed - proven):.0f} s: {proven:.0f} of {needed:.0f} s of forwarding proven{flapped}"


def _service_away(case: Case, claim: Claim) -> str:
    """The same for a claim that waits for its service on this node."""
    name = case.config.service_of[claim.destination]
    if name in case.evidence.me.unwell:
        return f"its service {name} does not work here"
    worked, needed = services.well_for(case, claim)
    return f"home in {needed - worked:.0f} s: its service {name} has worked here for {worked:.0f} of {needed:.0f} s"


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
        text, _semicolon, remedy = line.rpartition("; ")
        own = code == "impostor" or not text  # its code has the remedy
        yield Problem(code, subject, line if own else text, remedy="" if own else remedy)
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
        yield Problem(found, name, f"this node does not forward: {text}", details=details)
    if evidence.me.fact and not collector.forwarding_check.defects and collector.judged:
        yield Problem("forwarding", name, f"this node does not forward: {evidence.me.fact}")
    yield from _drain(parts)
    yield from _apis(parts, evidence)


def _drain(parts: Parts) -> t.Iterator[Problem]:
    drain, name = parts.drain, parts.config.self_name
    if drain.state in (DRAINING, DRAINED):
        yield Problem(
            "interruption" if drain.interruption else "drained", name, f"{name} is {drain.state}: {drain.why}"
        )


def _apis(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    reader, collector, name = parts.collector.reader, parts.collector, parts.config.self_name
    if reader.problem:
        code = next((mine for codes, mine in EC2_CODES if reader.problem_code in codes), "ec2_error")
        problem, _semicolon, remedy = reader.problem.partition("; ")
        yield Problem(code, name, f"EC2: {problem}", rows.ago(evidence.now, reader.problem_since), remedy=remedy)
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
        what, _semicolon, advice = text.rpartition("; ")
        yield Problem("warning", name, what or text, remedy=advice)
    if parts.settings.refused:
        text = f"the changed configuration was refused: {parts.settings.refused}"
        yield Problem("reload_refused", name, text)
    if parts.events.unwritten():
        text = f"the history in {parts.config.state_directory} is not written: {parts.events.unwritten()}"
        yield Problem("history_unwritten", name, text)
    if parts.events.lost():
        yield Problem("lost_lines", name, f"{parts.events.lost()} lines of the journal and the history were lost")


# --- services -------------------------------------------------------------------------------------


def _services(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    """The services that claims depend on, here and at the peers that are well."""
    name, memory, now = parts.config.self_name, parts.memory, evidence.now
    unwell = services.unwell(parts.config, memory, now)
    for each in parts.config.services:
        details = {"service": each.name, "file": each.file}
        moves = f"only routes to {', '.join(each.destinations)} depend on it"
        if each.name in unwell:
            known = memory.services.get(each.name)
            text = f"the service {each.name} does not work here: {_service_now(parts, each.name, known, now)}; {moves}"
            yield Problem("service_unwell", f"{each.name} on {name}", text, details={**details, "node": name})
        for peer, seen in memory.peers.items():
            report = evidence.heard.get(peer, NOTHING_HEARD).report
            if seen.verdict == HEALTHY and report is not None and each.name in report.unwell:
                text = f"{peer} reports that its service {each.name} does not work; {moves}"
                yield Problem("service_unwell", f"{each.name} on {peer}", text, details={**details, "node": peer})


def _service_now(parts: Parts, name: str, known: ServiceMemory | None, now: float) -> str:
    problem = parts.collector.service_check.problems.get(name)
    if problem or known is None or known.well_since is None:
        return problem or "its last readings were bad"
    left = services.hold(parts.config, known.failures) - (now - known.well_since)
    return f"it works again, and is trusted in {max(0.0, left):.0f} s, after {known.failures} failures"


# --- peers ----------------------------------------------------------------------------------------


def _peers(parts: Parts, evidence: Evidence) -> t.Iterator[Problem]:
    config = parts.config
    case = Case.of(config, parts.memory, evidence)
    own = evidence.instances.get(config.self_name)
    address = (own.address if own else None) or config.me.address or "this node"
    for name, peer in parts.memory.peers.items():
        details = {"peer": name, "port": str(config.heartbeat.port), "address": address}
        since = evidence.now - peer.since
        code = PEERS.get(peer.verdict)
        report = evidence.heard.get(name, NOTHING_HEARD).report
        unseen = peer.verdict == UNKNOWN and since > config.unseen_after
        if code is not None or unseen:
            text = f"{name} is {peer.verdict}: {verdict.evidence_now(case.about(name, peer))}"
            if report is not None and report.state == STOPPING:
                text += "; its last heartbeat announced the end of its service"
            if parts.transport.counters.get("bad_mac") and peer.verdict in (UNMANAGED, UNKNOWN):
                text += f"; {parts.transport.counters['bad_mac']} packets had a bad signature: another heartbeat key"
            instance = evidence.instances.get(name)
            if peer.verdict == SICK and instance is not None and instance.public_address == "":
                text += "; EC2 shows no public IPv4 address of it"
            remedy = _restart(instance) if code == "peer_failed" and instance is not None else ""
            yield Problem(code or "peer_unknown", name, text, since, details, remedy)
        if report is None or code is not None:
            continue
        if report.state in (DRAINING, DRAINED):
            view = evidence.instances.get(name)
            why = view.tags.get(TAG_DRAINED, "") if view is not None else ""
            reason = why or report.fact or "no reason is known here"
            yield Problem("peer_draining", name, f"{name} is {report.state}: {reason}", details=details)
        if rows.hears_me(report.views.get(config.self_name)) is False:
            text = f"{name} does not hear this node: its verdict is {report.views[config.self_name]}"
            yield Problem("peer_deaf", name, text, details=details)


def _restart(instance: InstanceView) -> str:
    """The remedy for an instance that EC2 shows as ended. Empty: it runs."""
    if instance.state in ENDED or not instance.instance_id:
        return f"EC2 shows it as {instance.state}, and it does not come back: replace it (docs/operations.md)"
    if instance.state in GONE:
        return (
            f"EC2 shows it as {instance.state}: if no fence has done it, "
            f"aws ec2 start-instances --instance-ids {instance.instance_id}"
        )
    return ""


SOURCES: tuple[t.Callable[[Parts, Evidence], t.Iterator[Problem]], ...] = (
    _routes,
    _actions,
    _node,
    _service,
    _services,
    _peers,
)
# The problems with which this node could take nothing over: all critical ones but dark routes, and
# the decisions of an operator.
INCAPABLE = frozenset(
    [code for code, means in CODES.items() if means.level == CRITICAL and code != "dark"]
    + ["paused", "drained", "observe"]
)
