# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One observation and one decision, carried out once, for the Ansible modules.

If the service runs on this node, it carries out the request: it has the history, and only one
process on a node may decide. If no service runs, this process runs the same code until nothing is
left to do.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..config import load as configuration
from ..errors import NatFailoverError, PortTaken
from ..model.cluster import ACTIVE, DRAINED, ROUTE_ACTIVE, WITNESS, Claim
from ..model.evidence import HEALTHY, UNKNOWN
from ..model.settings import Config
from ..policy import pause
from .sender import await_service, send_request

if t.TYPE_CHECKING:
    from .outside import Runner

PAUSED, UNPAUSED = "paused", "unpaused"
STATES = ("converged", "drained", "resumed", PAUSED, UNPAUSED)
OBSERVE_WITHIN = 15.0  # seconds that an observation may take
ACTOR = "Ansible"  # of the orders that a module gives
Result = dict[str, t.Any]


def info(config_path: str, *, runner: Runner) -> Result:
    """Claims, verdicts with their evidence and the state of this node. Changes nothing.

    Raises ``NatFailoverError``. Shape of the result: docs of the module ``nat_failover_info``.
    """
    config = configuration.load(config_path)

    def read() -> Result:
        status = send_request(config.runtime_directory, {"do": "status"})
        return _observe(replace(config, mode="observe"), runner, OBSERVE_WITHIN) if status is None else status

    status = _also_while_it_starts(config, read)
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

    def work() -> Result:
        before = send_request(config.runtime_directory, {"do": "status"})
        if route_tables:
            return _take(config, runner, before, set(route_tables), check_mode)
        if before is not None:
            return _through_service(config, state, before, check_mode, wait_timeout, pause_for)
        return _alone(config, state, runner, check_mode, wait_timeout)

    return _also_while_it_starts(config, work)


def _also_while_it_starts(config: Config, work: t.Callable[[], Result]) -> Result:
    """The result of ``work``. A service that begins meanwhile has the port: it is asked instead.

    Seconds after a boot no socket of the service is there yet. Nothing was written before the port
    was found taken.
    """
    try:
        return work()
    except PortTaken:
        if not await_service(config.runtime_directory, OBSERVE_WITHIN):
            raise
        return work()


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
    """``alone.observe``.

    It is loaded when no service runs: Ansible compiles all that a module loads at each run.
    """
    from .alone import observe  # pylint: disable=import-outside-toplevel  # it needs the whole service

    return observe(config, runner, longest, seen)


def _adopt(config: Config, claims: t.Sequence[Claim], check_mode: bool) -> str:
    """``alone.adopt``, which is loaded for an adoption."""
    from .alone import adopt  # pylint: disable=import-outside-toplevel  # it needs boto3

    return adopt(config, claims, check_mode)


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
    after = dict(status, claims=[dict(claim) for claim in status["claims"]])
    rows = [row for row in after["claims"] if row["route_table"] in tables and row["owner"] != config.self_name]
    claims = [Claim(row["route_table"], row["destination"], row["home"]) for row in rows]
    interface = _adopt(config, claims, check_mode)
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
