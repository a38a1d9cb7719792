# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab.demo``. The story goes to stderr, one line of JSON with the figures to stdout; exit code 0 if all went as it must."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from typing import Any, NoReturn

from .. import cli, launch
from ..errors import LabError, Prerequisite
from ..fabric.names import Names
from ..settings import MACHINE, Settings
from . import identities, nat, proxy
from .show import Show
from .story import DIES, SURVIVES, Story

NAME = "demo"


def main() -> int:
    """Run the demo; the lab is removed at the end, however that comes about."""
    parser = argparse.ArgumentParser(prog="demo", description=sys.modules[__package__ or ""].__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("nat", "proxy", "identities"),
        default="nat",
        help="the remedy that is shown (default: nat)",
    )
    parser.add_argument("--engine", choices=("squid", "tinyproxy"), help="of the proxy (default: squid)")
    parser.add_argument("--keep", action="store_true", help="leave the lab up, to look around")
    asked = parser.parse_args()
    if asked.engine and asked.what != "proxy":
        parser.error("--engine is of the proxy: ./dev demo proxy --engine " + asked.engine)
    signal.signal(signal.SIGTERM, _terminated)
    show, names = Show(), Names(NAME)
    try:
        cli.check(MACHINE)
        figures, good = _play(show, names, asked)
    except (Prerequisite, LabError, TimeoutError) as error:
        show.plain(f"demo: {error}")
        return 2 if isinstance(error, Prerequisite) else 1
    except KeyboardInterrupt:
        show.plain("demo: interrupted")
        return 130
    finally:
        if asked.keep:
            show.plain(
                f"The lab is still up: ./dev lab status --name {NAME}; away with it: ./dev lab down --name {NAME}"
            )
        else:
            launch.down(names)
    print(json.dumps(figures), flush=True)
    return 0 if good else 1


def _play(show: Show, names: Names, asked: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """The figures, and whether all went as it must."""
    story = Story(names, show)
    show.head("A VPC in a box: two availability zones, a NAT instance and a private subnet in each")
    launch.down(names)  # what an earlier demo may have left
    launch.up(Settings(NAME, egress=asked.what == "identities"), show.line)
    status = story.status()
    for name in (DIES, SURVIVES):
        host = status["hosts"][name]
        show.line(f"{name}: {host['instance_id']}, {host['address']}, a Debian system of its own")
    if asked.what == "proxy":
        figures = proxy.play(show, story, names, status, asked.engine)
        good = proxy.as_it_must(figures)
    elif asked.what == "identities":
        figures = identities.play(show, story, names, status)
        good = identities.as_it_must(figures)
    else:
        figures = nat.play(show, story, names, status)
        good = nat.as_it_must(figures)
    figures["seconds"] = round(time.monotonic() - show.began, 1)
    return figures, good


def _terminated(_number: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
