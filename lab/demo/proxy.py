# SPDX-License-Identifier: GPL-3.0-or-later
"""Two HTTP proxies at an address that moves: one of the nodes is killed, while a client downloads and updates its package lists."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..api.calls import read_calls
from ..downloads import Download, Downloads, outage_ms
from ..fabric.names import WEB_NAME, Names
from ..vpc import DEFAULT_ROUTE
from . import site
from .show import Show
from .story import CLIENT, DIES, OTHER_CLIENT, SURVIVES, Story, stops
from .updates import Update, Updates

ADDRESS = "100.64.99.1"
VIP = ADDRESS + "/32"
SQUID = "squid"
WARM_S = 2.0


def play(show: Show, story: Story, names: Names, status: dict[str, Any], engine: str | None) -> dict[str, Any]:
    """The figures."""
    _configure(show, names, status, engine or SQUID)
    story.wait_until_well()
    story.wait("each node trusts its proxy", lambda: all(_trusted(story.node(host)) for host in (DIES, SURVIVES)), 60)
    story.wait("the address has a route", lambda: (_at(story, "a"), _at(story, "b")) == (DIES, SURVIVES), 30)
    show.line(f"both proxies open tunnels; clients of each zone find the proxy of their own zone at {ADDRESS}")
    return _kill(show, story, names, status)


def as_it_must(figures: dict[str, Any]) -> bool:
    """Whether all went well."""
    counts = [figures[name] for name in ("other_zone_failed", "updates_failed")]
    return bool(
        counts == [0, 0] and figures["outage_ms"] is not None and figures["fenced"] == 1 and figures["returned"]
    )


def _configure(show: Show, names: Names, status: dict[str, Any], engine: str) -> None:
    """The proxy first: nat-failover reads the verdict of its health check."""
    proxy = {"proxy_engine": engine, "proxy_address": ADDRESS, "nat_instance_destinations": [DEFAULT_ROUTE, VIP]}
    inventory = site.write_inventory(status, names.run, proxy_nodes=proxy)
    log = names.run / "ansible.log"
    show.head(f"ansible-playbook playbooks/proxy.yml: {engine}, its guard and its health check, from Debian's packages")
    show.line(f"{site.play(show, inventory, log, 'proxy', nat_proxy_serial=2)} tasks changed something")
    show.head("ansible-playbook playbooks/site.yml: the service that moves the address when a node dies")
    show.line(f"{site.play(show, inventory, log, 'site')} tasks changed something")


def _trusted(node: dict[str, Any]) -> bool:
    return bool(node.get("services")) and all(each["trusted"] for each in node["services"])


def _at(story: Story, zone: str) -> str | None:
    return story.owner(zone, VIP)


def _kill(show: Show, story: Story, names: Names, status: dict[str, Any]) -> dict[str, Any]:
    """Kill a node under load, and follow what happens until the address is home again."""
    call_log = Path(status["call_log"])
    show.head(
        f"{CLIENT} has a download every 100 ms and apt-get update over and over, all by {ADDRESS}; then {DIES} dies"
    )
    before = len(read_calls(call_log))
    clients = [
        Downloads(story.spawn(host), names.run, ADDRESS, status["ca"], WEB_NAME) for host in (CLIENT, OTHER_CLIENT)
    ]
    with (
        clients[1],
        clients[0] as mine,
        Updates(lambda *argv: story.on(CLIENT, *argv), names.run, ADDRESS) as apt,
    ):
        for each in clients:
            each.wait_for_answer(10, time.monotonic())
        story.wait("apt-get update ends once", lambda: bool(apt.done), 60)
        show.line(str(apt.done[0]))
        time.sleep(WARM_S)
        with story.live(SURVIVES, call_log):
            time.sleep(0.5)
            killed = story.kill()
            story.wait(f"{SURVIVES} takes the address", lambda: _at(story, "a") == SURVIVES, 20)
            show.event(mine.wait_for_answer(10, killed), CLIENT, f"the first download is back, by {SURVIVES}")
            story.wait("apt-get update goes on", lambda: apt.across(killed) is not None, 60)
            across = apt.across(killed)
            assert across is not None
            show.event(across.ended, CLIENT, f"{across}: it was begun {_when(across.begun - killed)}")
            story.wait_until_booted()
            story.wait(f"{DIES} takes the address back", lambda: _at(story, "a") == DIES, 120)
            time.sleep(WARM_S)
            returned = (_at(story, "a"), story.owner("a")) == (DIES, DIES)
    fenced = stops(call_log, before)
    seen = [each.seen() for each in clients]
    return _summary(show, story, (seen[0], seen[1]), apt.done, across, killed) | {
        "fenced": fenced,
        "returned": returned,
    }


def _when(seconds: float) -> str:
    return f"{abs(seconds):.1f} s {'before' if seconds < 0 else 'after'} the death"


def _summary(
    show: Show,
    story: Story,
    seen: tuple[list[Download], list[Download]],
    updates: list[Update],
    across: Update,
    killed: float,
) -> dict[str, Any]:
    mine, other = seen
    outage = outage_ms(mine, killed)
    failed, other_failed = (sum(not each.ok for each in found) for found in seen)
    bad = [each for each in updates if each.code != 0]
    show.head("What happened")
    told = "no download came any more" if outage is None else f"downloads were possible again after {outage:.0f} ms"
    show.plain(f"  {CLIENT}: {told}; {failed} of {len(mine)} failed, all in all.")
    show.plain(f"  {OTHER_CLIENT}, in the other zone: {other_failed} of {len(other)} failed.")
    show.plain(
        f"  {len(updates)} runs of apt-get update, {len(bad)} failed; the one across the death took {across.ended - across.begun:.1f} s."
    )
    for each in bad:
        show.plain(f"    {each}")
    for zone, route in story.status()["routes"].items():
        show.plain(f"  The address of zone {zone} ({route['table']}) is with {route['owners'].get(VIP)}.")
    return {
        "outage_ms": None if outage is None else round(outage),
        "downloads": len(mine),
        "downloads_failed": failed,
        "other_zone_failed": other_failed,
        "updates": len(updates),
        "updates_failed": len(bad),
        "update_across_s": round(across.ended - across.begun, 1),
    }
