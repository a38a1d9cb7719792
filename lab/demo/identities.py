# SPDX-License-Identifier: GPL-3.0-or-later
"""Two NAT nodes with an identity each: one of them is killed in the middle of a download, which goes on, from the same public address."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from .. import launch
from ..api import backend
from ..api.calls import read_calls
from ..fabric.names import Names
from ..traffic.driver import Seen, Traffic, changes
from . import site
from .show import Show
from .story import CLIENT, DIES, SURVIVES, Story, stops

EVERY_S = 0.02  # between two new connections
WARM_S = 2.0
KINDS = ("pull", "up")
WORDS = {"pull": "the download", "up": "the upload"}


def play(show: Show, story: Story, names: Names, status: dict[str, Any]) -> dict[str, Any]:
    """The figures."""
    _configure(show, names, status)
    story.wait_until_well()
    for node in (DIES, SURVIVES):
        story.wait(f"{node} carries its identity", lambda node=node: _carries(story, node, node), 30)  # type: ignore[misc]
        show.line(f"{node}: its clients are seen under {_identity(story, node, node)['public']}, wherever they go out")
    return _kill(show, story, names, Path(status["call_log"]))


def as_it_must(figures: dict[str, Any]) -> bool:
    """Whether all went well."""
    return bool(figures["broken"] == [] and figures["fenced"] == 1 and figures["returned"] and figures["one_address"])


def _configure(show: Show, names: Names, status: dict[str, Any]) -> None:
    """The permissions first: what the nodes may do with Elastic IPs is made of the inventory."""
    inventory, log = site.write_inventory(status, names.run), names.run / "ansible.log"
    show.head("ansible-playbook playbooks/iam_policy.yml: the least that the nodes may do, for their role")
    folder = names.run / "iam"
    site.play(show, inventory, log, "iam_policy", nat_iam_account=f"'{backend.ACCOUNT}'", nat_iam_folder=folder)
    document = json.loads((folder / f"{status['cluster']}.json").read_text(encoding="utf-8"))
    launch.call(names, "policy", document=document)
    allowed = [each["Resource"] for each in document["Statement"] if each["Action"] == ["ec2:AssociateAddress"]]
    show.line(
        f"AssociateAddress is allowed on {', '.join(name.rpartition(':')[2] for each in allowed for name in each)}"
    )
    show.head("ansible-playbook playbooks/site.yml, over SSH")
    show.line(f"{site.play(show, inventory, log, 'site')} tasks changed something")


def _identity(story: Story, node: str, of: str) -> dict[str, Any]:
    """The row of an identity in a node's status."""
    rows = story.node(node).get("identities", [])
    return next((dict(row) for row in rows if row["identity"] == of), {})


def _carries(story: Story, node: str, of: str) -> bool:
    row = _identity(story, node, of)
    return (row.get("holder"), row.get("state")) == (node, "carry")


def _kill(show: Show, story: Story, names: Names, call_log: Path) -> dict[str, Any]:
    """Kill the node, and follow the streams until the identity is home again."""
    show.head(f"{CLIENT} downloads and uploads, 2 MB/s each, and opens a connection every 20 ms; then {DIES} dies")
    before = len(read_calls(call_log))
    with Traffic(story.spawn(CLIENT), names, kinds=KINDS, every_s=EVERY_S) as traffic:
        story.wait("both streams began", lambda: all(flow.count > 10 for flow in traffic.seen().flows.values()), 20)
        public = traffic.seen().flows["pull"].peer
        show.line(f"the server sees the download come from {public}")
        time.sleep(WARM_S)
        with story.live(SURVIVES, call_log):
            time.sleep(0.5)
            killed = story.kill()
            story.wait(f"{SURVIVES} takes the route", lambda: story.owner("a") == SURVIVES, 20)
            story.wait("the streams go on", lambda: _went_on(traffic.seen(), killed), 30)
            _tell_streams(show, traffic.seen(), killed)
            story.wait(f"{SURVIVES} carries the identity", lambda: _carries(story, SURVIVES, DIES), 30)
            public = public.partition(":")[0]
            story.wait("new connections have it", lambda: traffic.seen().opened_last == public, 10)
            _tell_new(show, traffic.seen(), killed)
            story.wait_until_booted()
            story.wait(f"{DIES} takes its route back", lambda: story.owner("a") == DIES, 90)
            story.wait(f"{DIES} carries its identity again", lambda: _carries(story, DIES, DIES), 60)
            time.sleep(WARM_S)
            returned = story.owner("a") == DIES
        seen = traffic.seen()
    return {**_summary(show, seen, killed), "fenced": stops(call_log, before), "returned": returned}


def _went_on(seen: Seen, killed: float) -> bool:
    """Whether both streams have had their pause, and are out of it."""
    return all(flow.error or (flow.stall_ms(killed) > 200 and flow.alive(0.1)) for flow in seen.flows.values())


def _tell_streams(show: Show, seen: Seen, killed: float) -> None:
    """The ends of their pauses, at the moments when they were seen."""
    for kind, flow in seen.flows.items():
        begin, length = max((gap for gap in flow.gaps if sum(gap) > killed), key=lambda gap: gap[1])
        text = f"ended: {flow.error}" if flow.error else f"goes on, after {length * 1000:.0f} ms, as {flow.peer}"
        show.event(begin + length, CLIENT, f"{WORDS[kind]} {text}")


def _tell_new(show: Show, seen: Seen, killed: float) -> None:
    """The addresses of new connections, at the moments when they were seen first."""
    for at, address in _addresses(seen, killed):
        show.event(at, CLIENT, f"a new connection, from {address}")


def _addresses(seen: Seen, since: float) -> list[tuple[float, str]]:
    """(when, address) of new connections as the server sees them, each change once."""
    told = changes(each for each in seen.opened if each.begun > since)
    return [(each.ended, each.address) for each in told if each.ended is not None]


def _summary(show: Show, seen: Seen, killed: float) -> dict[str, Any]:
    show.head("What happened")
    figures: dict[str, Any] = {"broken": [kind for kind, flow in seen.flows.items() if not flow.alive()]}
    for kind, flow in seen.flows.items():
        name = WORDS[kind].split()[-1]
        size = flow.octets / 1e6
        figures |= {f"{name}_mb": round(size), f"{name}_stall_ms": round(flow.stall_ms(killed))}
        fate = f"ended: {flow.error}" if flow.error else "is still running"
        show.plain(f"  {WORDS[kind].capitalize()} {fate}: {size:.0f} MB, each octet compared, from {flow.peer}.")
        show.plain(f"    Its longest pause since the death was {flow.stall_ms(killed):.0f} ms.")
    figures["new_outage_ms"] = round(seen.outage_ms(killed))
    show.plain(f"  For {figures['new_outage_ms']} ms no new connection was possible.")
    last = _addresses(seen, killed)[-1][1]
    show.plain(f"  New connections of {CLIENT} are seen under {last} again.")
    figures["one_address"] = last == seen.flows["pull"].peer.partition(":")[0]
    return figures
