# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One observation and one decision, carried out once, for the Ansible modules.

If the service runs on this node, it carries out the request: it has the history, and only one
process on a node may decide. If no service runs, this process runs the same code until nothing is
left to do.
"""

from __future__ import annotations

import asyncio
import typing as t
from dataclasses import replace

from ..act.once import write_routes
from ..act.steps import ReplaceRoute
from ..config import load as configuration
from ..errors import NatFailoverError
from ..model.cluster import ACTIVE, DRAINED, ROUTE_ACTIVE, WITNESS, Claim, owners_of
from ..model.evidence import HEALTHY, SILENT, UNKNOWN
from ..model.plan import SetRoute
from ..model.settings import Config
from ..observe.instances import read_instances
from ..policy import pause
from ..runtime.real import AsyncioRuntime
from .control import send_request
from .outside import Runner, connect, connect_ec2
from .parts import Parts
from .service import Service

PAUSED, UNPAUSED = "paused", "unpaused"
STATES = ("converged", "drained", "resumed", PAUSED, UNPAUSED)
SETTLED_EVERY = 0.1  # seconds between two checks whether an observation is complete
OBSERVE_WITHIN = 15.0  # seconds that an observation may take
ACTOR = "Ansible"  # of the orders that a module gives
Result = dict[str, t.Any]


def info(config_path: str, *, runner: Runner) -> Result:
    """Claims, verdicts with their evidence and the state of this node. Changes nothing.

    Raises ``NatFailoverError``. Shape of the result: docs of the module ``nat_failover_info``.
    """
    config = configuration.load(config_path)
    status = send_request(config.runtime_directory, {"do": "status"})
    if status is None:
        status = _observe(replace(config, mode="observe"), runner, OBSERVE_WITHIN)
    me = status["self"]
    # A service of an older version than this module lacks some keys: their values are empty.
    own = {"facts": me.get("facts", {}), "node_warnings": me.get("warnings", [])}
    return {**_result(status), "forwarding": me["forwarding"], "fact": me["fact"], **own}


def run(
    state: str,
    config_path: str,
    *,
    runner: Runner,
    check_mode: bool = False,
    wait_timeout: float = 60.0,
    route_tables: t.Sequence[str] | None = None,
    pause_for: str = "1h",
) -> Result:
    """Bring this node to ``state``, one of ``STATES``.

    ``wait_timeout``: seconds. ``route_tables``: tables that this node adopts in any case. Raises
    ``NatFailoverError``. Shape of the result: docs of the module ``nat_failover``.
    """
    config = configuration.load(config_path)
    if state not in STATES:
        raise NatFailoverError(f"state {state!r} is unknown; choose one of: {', '.join(STATES)}")
    before = send_request(config.runtime_directory, {"do": "status"})
    if route_tables:
        return _take(config, runner, before, set(route_tables), check_mode)
    if before is not None:
        return _through_service(config, state, before, check_mode, wait_timeout, pause_for)
    return _alone(config, state, runner, check_mode, wait_timeout)


def _through_service(
    config: Config, state: str, before: Result, check_mode: bool, wait_timeout: float, pause_for: str
) -> Result:
    """Let the running service bring this node to ``state``. ``before``: its status."""
    if state in (PAUSED, UNPAUSED):
        return _pause(config, state, before, check_mode, pause_for)
    wanted = {"converged": before["state"], "drained": DRAINED, "resumed": ACTIVE}[state]
    if before["state"] == WITNESS:
        wanted = WITNESS  # a witness owns no claims: maintenance of a whole group changes nothing on it
    # A drain for an announcement of EC2 carries no tag yet. A service of an older version has no
    # such key.
    changed = before["state"] != wanted or (wanted == DRAINED and not before.get("tagged", True))
    if check_mode or not changed:
        after = dict(before, state=wanted)
        if state == "drained" and changed:
            after["claims"] = [dict(claim, owner=_next_owner(before, claim)) for claim in before["claims"]]
        return _result(before, after, changed)
    request: dict[str, t.Any] = {"do": "resume", "actor": ACTOR}
    if state == "drained":
        request = {"do": "drain", "wait": wait_timeout, "reason": "requested by Ansible"}
    send_request(config.runtime_directory, request, timeout=wait_timeout + 10)
    after = send_request(config.runtime_directory, {"do": "status"}) or before
    return _result(before, after, True)


def _pause(config: Config, state: str, before: Result, check_mode: bool, pause_for: str) -> Result:
    """Begin or end a pause. A present pause keeps its end, so a second run changes nothing."""
    pause.seconds(pause_for)
    changed = bool(before.get("paused", "")) != (state == PAUSED)
    if changed and not check_mode:
        request = {"do": "pause", "for": pause_for} if state == PAUSED else {"do": "unpause"}
        send_request(config.runtime_directory, {**request, "actor": ACTOR}, timeout=60)
    return _result(before, dict(before, paused=_paused_text(state, before)), changed)


def _paused_text(state: str, before: Result) -> str:
    return (before.get("paused", "") or "the cluster is paused") if state == PAUSED else ""


def _next_owner(status: Result, claim: Result) -> str | None:
    """The owner of a claim after a drain of this node, by its status before.

    None if several peers could adopt it, since they agree among themselves, or if no peer can.
    """
    if claim["owner"] != status["node"]:
        return t.cast(t.Optional[str], claim["owner"])
    healthy = [
        verdict["peer"]
        for verdict in status["verdicts"]
        if (verdict["verdict"], verdict.get("state", ACTIVE)) == (HEALTHY, ACTIVE)
    ]
    return healthy[0] if len(healthy) == 1 else None


def _alone(config: Config, state: str, runner: Runner, check_mode: bool, wait_timeout: float) -> Result:
    """Bring this node to ``state`` by an observation in this process."""
    if state != "converged":
        raise NatFailoverError(
            f"state {state} needs the service, and none runs with the runtime_directory {config.runtime_directory}; "
            "start it with `systemctl start nat-failover`"
        )
    seen: list[Result] = []
    after = _observe(replace(config, mode="observe") if check_mode else config, runner, wait_timeout, seen)
    before = seen[0] if seen else after
    if check_mode:
        proposed = {_key(row): row for row in after["proposed"]}
        after = dict(after, claims=[dict(claim, **proposed.get(_key(claim), {})) for claim in after["claims"]])
    return _result(before, after, _owners(before) != _owners(after))


def _observe(config: Config, runner: Runner, longest: float, seen: list[Result] | None = None) -> Result:
    """Run the service in this process until it is settled, for ``longest`` seconds at most.

    Returns its status. Appends the status as it was before any write to ``seen``. With ``seen`` it
    also waits for claims that are about to return. Raises ``NatFailoverError`` if EC2 cannot be
    read.
    """
    keys = configuration.load_keys(config.key_file)
    found: dict[str, t.Any] = {}

    async def observe() -> None:
        # Before Python 3.10 an asyncio.Event belongs to the loop in which it is made. So the
        # service is made here.
        service = Service(config, keys, connect(config, runner), repairs=False)
        await service.work(finish(service))
        if not found.get("claims"):
            problem = service.parts.collector.problem or "no answer"
            raise NatFailoverError(
                f"EC2 could not be read within {int(longest)} s: {problem}; run `nat-failover check-config --online`"
            )

    async def finish(service: Service) -> None:
        runtime = service.outside.runtime
        deadline = runtime.now() + longest
        while runtime.now() < deadline:
            await runtime.sleep(SETTLED_EVERY)
            if _settled(service.parts, patient=seen is not None):
                break
        found.update(service.commands.status())
        if seen is not None:
            seen.append(_before(service.parts, found))

    asyncio.run(observe())
    return found


def _settled(parts: Parts, patient: bool) -> bool:
    """Whether all evidence is there and nothing is left to do now.

    ``patient``: claims that are about to return count as something to do.
    """
    peers = parts.memory.peers.values()
    judged = len(peers) == len(parts.config.peers) and all(peer.verdict not in (UNKNOWN, SILENT) for peer in peers)
    if not (parts.collector.read_all and parts.collector.judged and judged):
        return False
    if parts.plan.routes or parts.executor.busy(parts.runtime.now()):
        return False
    return not (patient and _expects(parts))


def _expects(parts: Parts) -> bool:
    """Whether a claim of this node is about to return to it."""
    config, plan, collector = parts.config, parts.plan, parts.collector
    if config.returns.policy != "auto" or parts.drain.state != ACTIVE:
        return False
    planned = {action.claim for action in plan.withheld if isinstance(action, SetRoute)}
    if plan.withheld and config.mode != "observe":
        return False  # this node must not write, and the status has the reason
    homes = (claim for claim in collector.routes if claim.home == config.self_name)
    return any(claim not in parts.memory.own_claims | planned and str(claim) not in plan.drift for claim in homes)


def _before(parts: Parts, after: Result) -> Result:
    """The status with the routes as they were before this process wrote any."""
    owners = owners_of(parts.collector.instances)
    old = {
        (claim.route_table, claim.destination): {
            "owner": owners.get(view.target or ""),
            "target": view.target,
            "state": view.state,
        }
        for claim, view in parts.executor.replaced.items()
    }
    return dict(after, claims=[dict(row, **old.get(_key(row), {})) for row in after["claims"]])


def _take(config: Config, runner: Runner, before: Result | None, tables: set[str], check_mode: bool) -> Result:
    """Let this node adopt the named tables.

    Law L1 holds here too: no adoption without proven forwarding.
    """
    status = before if before is not None else _observe(replace(config, mode="observe"), runner, OBSERVE_WITHIN)
    known = {row["route_table"] for row in status["claims"]}
    for table in sorted(tables - known):
        raise NatFailoverError(f"route_tables: no node claims {table}; choose from: {', '.join(sorted(known))}")
    if status["state"] == WITNESS:
        raise NatFailoverError("this node is a witness, which owns no routes; run this on a NAT node")
    if not status["self"]["forwarding"]:
        raise NatFailoverError(
            f"this node does not forward ({status['self']['fact']}), so it adopts no route (law L1); repair that, or "
            "run this on another node"
        )
    ec2 = connect_ec2(config)
    interface = read_instances(ec2, config.nodes, config.cluster)[config.self_name].interface_id
    if not interface:
        raise NatFailoverError(
            f"EC2 shows no running instance of this node ({config.self_name}); run `nat-failover check-config --online`"
        )
    after = dict(status, claims=[dict(claim) for claim in status["claims"]])
    rows = [row for row in after["claims"] if row["route_table"] in tables and row["owner"] != config.self_name]
    claims = [Claim(row["route_table"], row["destination"], row["home"]) for row in rows]
    if not check_mode:
        obstacle = write_routes([ReplaceRoute(claim, interface) for claim in claims], ec2, AsyncioRuntime)
        if obstacle:
            raise NatFailoverError(f"{obstacle} after the write; run this again")
    for row in rows:
        row.update(owner=config.self_name, target=interface, state=ROUTE_ACTIVE)
    return _result(status, after, _owners(status) != _owners(after))


def _key(claim: Result) -> tuple[str, str]:
    return claim["route_table"], claim["destination"]


def _owners(status: Result) -> dict[tuple[str, str], t.Any]:
    """The owner of each claim, or its target if no node owns it, by table and destination."""
    return {_key(claim): claim["owner"] or claim["target"] for claim in status["claims"]}


def _render(status: Result) -> Result:
    """The text of diff mode: the state of the node and the owner of each claim."""
    return {
        "state": status["state"],
        "paused": bool(status.get("paused", "")),
        "claims": {" ".join(key): owner for key, owner in sorted(_owners(status).items())},
    }


def _result(before: Result, after: Result | None = None, changed: bool = False) -> Result:
    """The result of a module, from two statuses. Shape: docs of the module ``nat_failover``."""
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
