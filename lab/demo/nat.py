# SPDX-License-Identifier: GPL-3.0-or-later
"""Two NAT nodes set up by the role, one of them killed under traffic: packets find another way, and then the first one again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..api.calls import read_calls
from ..fabric.names import Names
from ..stream import Result, Stream
from . import site
from .show import Show
from .story import CLIENT, DIES, OTHER_CLIENT, SURVIVES, Story, stops


def play(show: Show, story: Story, names: Names, status: dict[str, Any]) -> dict[str, Any]:
    """The figures."""
    changed = _configure(show, names, status)
    story.wait_until_well()
    show.line("both nodes are healthy, each has the route of its own zone")
    return {**_kill(show, story, names, Path(status["call_log"])), "second_run_changed": changed}


def as_it_must(figures: dict[str, Any]) -> bool:
    """Whether all went well."""
    return bool(figures["second_run_changed"] == 0 and figures["fenced"] == 1 and figures["returned"])


def _configure(show: Show, names: Names, status: dict[str, Any]) -> int:
    """The site run twice; returns what the second one changed."""
    inventory = site.write_inventory(status, names.run)
    log = names.run / "ansible.log"
    show.head("ansible-playbook playbooks/site.yml, over SSH")
    show.line(f"{site.play(show, inventory, log, 'site')} tasks changed something")
    show.head("The same once more: nothing must change")
    changed = site.play(show, inventory, log, "site")
    show.line(f"second run: changed={changed}")
    return changed


def _kill(show: Show, story: Story, names: Names, call_log: Path) -> dict[str, Any]:
    """The heart of it: kill a node under traffic, and follow what happens until its route is home again."""
    show.head(f"A packet every 5 ms from {CLIENT} to the internet and back; then {DIES} dies")
    before = len(read_calls(call_log))
    with Stream(story.spawn(CLIENT), names.run) as stream, Stream(story.spawn(OTHER_CLIENT), names.run) as other:
        stream.wait_for_answer()
        other.wait_for_answer()
        time.sleep(1.0)
        with story.live(SURVIVES, call_log):
            time.sleep(0.5)
            killed = story.kill()
            story.wait(f"{SURVIVES} takes the route", lambda: story.owner("a") == SURVIVES, 20)
            first = stream.wait_for_answer(10, since=killed)
            show.event(first, CLIENT, "the first packet is back")
            story.wait_until_booted()
            story.wait(f"{DIES} takes its route back", lambda: story.owner("a") == DIES, 90)
            time.sleep(1.0)
            returned = story.owner("a") == DIES
    fenced = stops(call_log, before)
    return _summary(show, story, stream.result(), other.result(), killed, fenced, returned)


def _summary(
    show: Show, story: Story, seen: Result, other: Result, killed: float, fenced: int, returned: bool
) -> dict[str, Any]:
    outage = round(seen.outage_ms(killed, killed + 20))
    show.head("What happened")
    show.plain(
        f"  {CLIENT} was without internet for {outage} ms and lost {seen.packets_lost} of {len(seen.sent)} packets, all in all."
    )
    show.plain(f"  {OTHER_CLIENT}, in the other zone, lost {other.packets_lost} of {len(other.sent)}.")
    show.plain(f"  {SURVIVES} took over the route first, and stopped and started {DIES} later, {fenced} time(s).")
    for zone, route in story.status()["routes"].items():
        show.plain(f"  The default route of zone {zone} ({route['table']}) is with {route['owner']}.")
    if returned:
        show.plain(f"  {DIES} took its route back after it had proven that it forwards.")
    return {
        "outage_ms": outage,
        "packets_lost": seen.packets_lost,
        "packets_sent": len(seen.sent),
        "other_zone_lost": other.packets_lost,
        "fenced": fenced,
        "returned": returned,
    }
