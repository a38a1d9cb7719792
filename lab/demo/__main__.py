# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.demo``. The story goes to stderr, one line of JSON with the figures to stdout; exit code 0 if all went as it must."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from .. import cli, launch
from ..api.calls import read_calls
from ..errors import LabError, Prerequisite
from ..fabric.names import Names
from ..settings import MACHINE, Settings
from ..stream import Result, Stream
from . import site
from .show import Show
from .story import Story

NAME = "demo"
DIES, SURVIVES, CLIENT, OTHER_CLIENT = "nat-a", "nat-b", "client-a", "client-b"


def main() -> int:
    """Run the demo; the lab is removed at the end, however that comes about."""
    parser = argparse.ArgumentParser(prog="demo", description=sys.modules[__package__ or ""].__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab up, to look around")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, _terminated)
    show, names = Show(), Names(NAME)
    try:
        cli.check(MACHINE)
        figures = _play(show, names)
    except (Prerequisite, LabError, TimeoutError) as error:
        show.plain(f"demo: {error}")
        return 2 if isinstance(error, Prerequisite) else 1
    except KeyboardInterrupt:
        show.plain("demo: interrupted")
        return 130
    finally:
        if keep:
            show.plain(
                f"The lab is still up: ./dev lab status --name {NAME}; away with it: ./dev lab down --name {NAME}"
            )
        else:
            launch.down(names)
    print(json.dumps(figures), flush=True)
    wanted = figures["second_run_changed"] == 0 and figures["fenced"] == 1 and figures["returned"]
    return 0 if wanted else 1


def _play(show: Show, names: Names) -> dict[str, Any]:
    story = Story(names, show)
    show.head("A VPC in a box: two availability zones, a NAT instance and a private subnet in each")
    launch.down(names)  # what an earlier demo may have left
    launch.up(Settings(NAME), show.line)
    status = story.status()
    for name in (DIES, SURVIVES):
        host = status["hosts"][name]
        show.line(f"{name}: {host['instance_id']}, {host['address']}, a Debian system of its own")
    changed = _configure(show, story, names, status)
    story.wait(
        "the nodes see each other", lambda: story.sees(SURVIVES, DIES) == story.sees(DIES, SURVIVES) == "healthy", 30
    )
    show.line("both nodes are healthy, each has the route of its own zone")
    figures = _kill(show, story, names, Path(status["call_log"]))
    figures["second_run_changed"] = changed
    figures["seconds"] = round(time.monotonic() - show.began, 1)
    return figures


def _configure(show: Show, story: Story, names: Names, status: dict[str, Any]) -> int:
    """The site run twice; returns what the second one changed."""
    inventory = site.write_inventory(status, names.run)
    log = names.run / "ansible.log"
    show.head("ansible-playbook playbooks/site.yml, over SSH")
    show.line(f"{site.play(show, inventory, log)} tasks changed something")
    show.head("The same once more: nothing must change")
    changed = site.play(show, inventory, log)
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
            killed = launch.call(names, "fault", kind="kill", host=DIES)["at"]
            show.zero(killed)
            show.event(killed, "demo", f"{DIES} is killed: its kernel answers nothing, EC2 still says running")
            story.wait(f"{SURVIVES} takes the route", lambda: story.owner("a") == SURVIVES, 20)
            first = stream.wait_for_answer(10, since=killed)
            show.event(first, CLIENT, "the first packet is back")
            story.wait(f"{DIES} is started again", lambda: story.status()["hosts"][DIES]["boots"] > 1, 90)
            show.event(time.monotonic(), "demo", f"{DIES} has been stopped and started, and boots")
            story.wait(f"{DIES} takes its route back", lambda: story.owner("a") == DIES, 90)
            time.sleep(1.0)
            returned = story.owner("a") == DIES
    calls = [call for call in read_calls(call_log)[before:] if call.ok]
    fenced = sum(call.action == "StopInstances" for call in calls)
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


def _terminated(_number: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
