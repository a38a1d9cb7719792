# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One observation, one decision, carried out once: what the Ansible modules do.

Where the service runs, it is asked: it has the history, and two deciders on one node would be one too many. Where it does not run, the same service code is
run in this process until nothing is left to do.
"""

from __future__ import annotations

import asyncio
import typing as t
from dataclasses import replace

from ..config import load as configuration
from ..errors import NatFailoverError
from ..model.cluster import ACTIVE, DRAINED, HEALTHY, ROUTE_ACTIVE, SILENT, UNKNOWN, WITNESS, Claim, SetRoute, owners_of
from ..policy import pause
from .control import ask
from .service import Service

PAUSED, UNPAUSED = "paused", "unpaused"
STATES = ("converged", "drained", "resumed", PAUSED, UNPAUSED)
Runner = t.Callable[..., t.Tuple[int, str, str]]
Result = t.Dict[str, t.Any]


def info(config_path: str, *, runner: Runner) -> Result:
    """Claims, verdicts with evidence and this node's state; changes nothing."""
    config = configuration.load(config_path)
    status = ask(config.runtime_directory, {"do": "status"})
    if status is None:
        status = _observe(replace(config, mode="observe"), runner, 15.0)
    me = status["self"]
    # The service may be of an older version than this module: what it does not tell yet is empty.
    own = {"facts": me.get("facts", {}), "node_warnings": me.get("warnings", [])}
    return {**_result(status), "forwarding": me["forwarding"], "fact": me["fact"], **own}


def run(
    state: str,
    config_path: str,
    *,
    runner: Runner,
    check_mode: bool = False,
    wait_timeout: float = 60.0,
    route_tables: t.Optional[t.Sequence[str]] = None,
    pause_for: str = "1h",
) -> Result:
    """Bring this node to ``state``; raises ``NatFailoverError``. Shape of the result: docs of the module ``nat_failover``."""
    config = configuration.load(config_path)
    if state not in STATES:
        raise NatFailoverError("state %r is unknown; choose one of: %s" % (state, ", ".join(STATES)))
    # The service may be of an older version than this module: what it does not tell yet is not asked for.
    before = ask(config.runtime_directory, {"do": "status"})
    if route_tables:
        return _take(config, runner, before, set(route_tables), check_mode)
    if before is not None:
        return _through_service(config, state, before, check_mode, wait_timeout, pause_for)
    return _alone(config, state, runner, check_mode, wait_timeout)


def _through_service(
    config: configuration.Config, state: str, before: Result, check_mode: bool, wait_timeout: float, pause_for: str
) -> Result:
    if state in (PAUSED, UNPAUSED):
        return _pause(config, state, before, check_mode, pause_for)
    wanted = {"converged": before["state"], "drained": DRAINED, "resumed": ACTIVE}[state]
    if before["state"] == WITNESS:
        wanted = WITNESS  # there is nothing to hand over, nor to take back: maintenance of a whole group passes over it
    # A node that drains for a notice of EC2 is not drained by anybody yet.
    changed = before["state"] != wanted or (wanted == DRAINED and not before.get("tagged", True))
    if check_mode or not changed:
        after = dict(before, state=wanted)
        if state == "drained" and changed:
            after["claims"] = [dict(claim, owner=_next_owner(before, claim)) for claim in before["claims"]]
        return _result(before, after, changed)
    request: t.Dict[str, t.Any] = (
        {"do": "drain", "wait": wait_timeout, "reason": "asked for by Ansible"}
        if state == "drained"
        else {"do": "resume"}
    )
    ask(config.runtime_directory, request, timeout=wait_timeout + 10)
    after = ask(config.runtime_directory, {"do": "status"}) or before
    return _result(before, after, True)


def _pause(config: configuration.Config, state: str, before: Result, check_mode: bool, pause_for: str) -> Result:
    """A pause that is there is left as it is, whatever its end: a second run changes nothing."""
    pause.seconds(pause_for)
    changed = bool(before.get("paused", "")) != (state == PAUSED)
    if changed and not check_mode:
        request = {"do": "pause", "for": pause_for} if state == PAUSED else {"do": "unpause"}
        ask(config.runtime_directory, request, timeout=60)
    return _result(before, dict(before, paused=_paused_text(state, before)), changed)


def _paused_text(state: str, before: Result) -> str:
    return (before.get("paused", "") or "the cluster is paused") if state == PAUSED else ""


def _next_owner(status: Result, claim: Result) -> t.Optional[str]:
    """Predicts who adopts a claim that this node gives up; with more than one candidate that is theirs to agree on."""
    if claim["owner"] != status["node"]:
        return t.cast(t.Optional[str], claim["owner"])
    healthy = [
        verdict["peer"]
        for verdict in status["verdicts"]
        if (verdict["verdict"], verdict.get("state", ACTIVE)) == (HEALTHY, ACTIVE)
    ]
    return healthy[0] if len(healthy) == 1 else None


def _alone(config: configuration.Config, state: str, runner: Runner, check_mode: bool, wait_timeout: float) -> Result:
    """No service runs here: be it, for as long as it takes."""
    if state != "converged":
        raise NatFailoverError(
            "state %s needs the running service, and none answers in %s; start it with `systemctl start nat-failover`"
            % (state, config.runtime_directory)
        )
    seen: t.List[Result] = []
    after = _observe(replace(config, mode="observe") if check_mode else config, runner, wait_timeout, seen)
    before = seen[0] if seen else after
    if check_mode:
        proposed = {_key(row): row for row in after["proposed"]}
        after = dict(after, claims=[dict(claim, **proposed.get(_key(claim), {})) for claim in after["claims"]])
    return _result(before, after, _owners(before) != _owners(after))


def _observe(
    config: configuration.Config, runner: Runner, longest: float, seen: t.Optional[t.List[Result]] = None
) -> Result:
    """Run the service's own code in this process until it is settled; returns its status, and in ``seen`` that of before its writes."""
    keys = configuration.load_keys(config.key_file)
    found: t.Dict[str, t.Any] = {}

    async def observe() -> None:
        service = Service(config, keys, runner)  # in here: before Python 3.10, events belong to the running loop
        await service.work(finish(service))
        if not found.get("claims"):
            raise NatFailoverError(
                "EC2 could not be read within %d s: %s" % (longest, service.gatherer.problem or "no answer")
            )

    async def finish(service: Service) -> None:
        deadline = service.clock() + longest
        while service.clock() < deadline:
            await asyncio.sleep(0.1)
            if _settled(service, patient=seen is not None):
                break
        found.update(service.status())
        if seen is not None:
            seen.append(_before(service, found))

    asyncio.run(observe())
    return found


def _settled(service: Service, patient: bool) -> bool:
    """Is everything known, and nothing left to do now? ``patient``: also wait for claims that are to come home."""
    peers = service.memory.peers.values()
    judged = len(peers) == len(service.config.peers) and all(peer.verdict not in (UNKNOWN, SILENT) for peer in peers)
    if not (service.gatherer.read_all and service.gatherer.judged and judged):
        return False
    if service.plan.routes or service.hands.busy(service.clock()):
        return False
    return not (patient and _expects(service))


def _expects(service: Service) -> bool:
    """Will a claim of this node come home by itself, if one waits?"""
    config, plan, gatherer = service.config, service.plan, service.gatherer
    if config.returns.policy != "auto" or service.state != ACTIVE:
        return False
    planned = {action.claim for action in plan.withheld if isinstance(action, SetRoute)}
    if plan.withheld and config.mode != "observe":
        return False  # it must not write, and says why
    homes = (claim for claim in gatherer.routes if claim.home == config.self_name)
    return any(claim not in service.memory.mine | planned and str(claim) not in plan.drift for claim in homes)


def _before(service: Service, after: Result) -> Result:
    """The status with the routes as they were before this process wrote any."""
    owners = owners_of(service.gatherer.instances)
    old = {
        (claim.route_table, claim.destination): {
            "owner": owners.get(view.target or ""),
            "target": view.target,
            "state": view.state,
        }
        for claim, view in service.hands.replaced.items()
    }
    return dict(after, claims=[dict(row, **old.get(_key(row), {})) for row in after["claims"]])


def _take(
    config: configuration.Config, runner: Runner, before: t.Optional[Result], tables: t.Set[str], check_mode: bool
) -> Result:
    """Explicit takeover by this node of the named tables. Law L1 holds here too: not without proven forwarding."""
    status = before if before is not None else _observe(replace(config, mode="observe"), runner, 15.0)
    known = {row["route_table"] for row in status["claims"]}
    for table in sorted(tables - known):
        raise NatFailoverError("route_tables: no node claims %s; choose from: %s" % (table, ", ".join(sorted(known))))
    if status["state"] == WITNESS:
        raise NatFailoverError("this node is a witness: it takes no route")
    if not status["self"]["forwarding"]:
        raise NatFailoverError("this node does not forward (%s): it takes no route (law L1)" % status["self"]["fact"])
    ec2 = Service.connect(config)
    mine = ec2.describe_instances(config.nodes, cluster=config.cluster)[config.self_name]
    if not mine.interface_id:
        raise NatFailoverError("EC2 shows no running instance for %s, which is this node" % config.self_name)
    interface = mine.interface_id
    after = dict(status, claims=[dict(claim) for claim in status["claims"]])
    for row in after["claims"]:
        if row["route_table"] not in tables or row["owner"] == config.self_name:
            continue
        claim = Claim(row["route_table"], row["destination"], row["home"])
        if not check_mode:
            view = ec2.set_route(claim, interface)
            if view.target != interface:
                raise NatFailoverError("%s: EC2 still says %s after the write; run this again" % (claim, view.target))
        row.update(owner=config.self_name, target=interface, state=ROUTE_ACTIVE)
    return _result(status, after, _owners(status) != _owners(after))


def _key(claim: Result) -> t.Tuple[str, str]:
    return claim["route_table"], claim["destination"]


def _owners(status: Result) -> t.Dict[t.Tuple[str, str], t.Any]:
    return {_key(claim): claim["owner"] or claim["target"] for claim in status["claims"]}


def _render(status: Result) -> Result:
    """What diff mode shows: the node's state, and each claim's owner."""
    return {
        "state": status["state"],
        "paused": bool(status.get("paused", "")),
        "claims": {"%s %s" % key: owner for key, owner in sorted(_owners(status).items())},
    }


def _result(before: Result, after: t.Optional[Result] = None, changed: bool = False) -> Result:
    after = before if after is None else after
    old, new = _owners(before), _owners(after)
    return {
        "changed": changed,
        "state": after["state"],
        "summary": after["summary"],
        "paused": after.get("paused", ""),
        "instances": after.get("instances", []),
        "claims": [
            {name: claim[name] for name in ("route_table", "destination", "home", "owner", "target", "state")}
            for claim in after["claims"]
        ],
        "verdicts": [
            {name: verdict.get(name) for name in ("peer", "verdict", "state", "evidence")}
            for verdict in after["verdicts"]
            if verdict["verdict"] != UNKNOWN or verdict["evidence"]
        ],
        "actions": [
            {"route_table": key[0], "destination": key[1], "before": old.get(key), "after": new[key]}
            for key in sorted(new)
            if old.get(key) != new[key]
        ],
        "withheld": after["withheld"],
        "drift": after["drift"],
        "diff": {"before": _render(before), "after": _render(after)},
    }
