# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of ``oneshot`` that reads EC2 and writes routes in this process, without the service of
this node.
"""

from __future__ import annotations

import asyncio
import typing as t

from ..act.once import write_routes
from ..act.steps import ReplaceRoute
from ..config import load as configuration
from ..errors import NatFailoverError, PortTaken
from ..model.cluster import ACTIVE, Claim, owners_of
from ..model.evidence import SILENT, UNKNOWN
from ..model.plan import SetRoute
from ..model.settings import Config
from ..observe.instances import read_instances
from ..runtime.real import AsyncioRuntime
from .outside import Runner, connect, connect_ec2
from .parts import Parts
from .sender import control_socket, is_served
from .service import Service

SETTLED_EVERY = 0.1  # seconds between two checks whether an observation is complete
Result = dict[str, t.Any]


def observe(config: Config, runner: Runner, longest: float, seen: list[Result] | None = None) -> Result:
    """Run the service in this process until it is settled, for ``longest`` seconds at most.

    Returns its status. Appends the status as it was before any write to ``seen``. With ``seen`` it
    also waits for claims that are about to return. Raises ``NatFailoverError`` if EC2 cannot be
    read, and ``PortTaken`` if the service of this node begins before anything was written: it waits
    for the port.
    """
    keys = configuration.load_keys(config.key_file)
    found: dict[str, t.Any] = {}

    async def work() -> None:
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
            if is_served(control_socket(config.runtime_directory)) and not service.parts.executor.replaced:
                raise PortTaken("the service of this node has begun")
            if _settled(service.parts, patient=seen is not None):
                break
        found.update(service.commands.status())
        if seen is not None:
            seen.append(_before(service.parts, found))

    asyncio.run(work())
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
    return dict(
        after, claims=[dict(row, **old.get((row["route_table"], row["destination"]), {})) for row in after["claims"]]
    )


def adopt(config: Config, claims: t.Sequence[Claim], check_mode: bool) -> str:
    """Let the routes of claims target this node, and return its interface.

    ``check_mode``: write nothing. Raises ``NatFailoverError``.
    """
    ec2 = connect_ec2(config)
    interface = read_instances(ec2, config.nodes, config.cluster)[config.self_name].interface_id
    if not interface:
        raise NatFailoverError(
            f"EC2 shows no running instance of this node ({config.self_name}); run `nat-failover check-config --online`"
        )
    if not check_mode:
        obstacle = write_routes([ReplaceRoute(claim, interface) for claim in claims], ec2, AsyncioRuntime)
        if obstacle:
            raise NatFailoverError(f"{obstacle} after the write; run this again")
    return interface
