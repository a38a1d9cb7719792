# SPDX-License-Identifier: GPL-3.0-or-later
"""The process behind a lab that outlives the command which started it. ``lab up`` starts it; ``lab down`` ends it with SIGTERM."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from . import node_role, status
from .api.control import ControlError
from .errors import LabError, Prerequisite
from .fabric import cleanup
from .fabric.names import Names
from .hosts.weights import node_maker
from .settings import FAILED, INTERRUPTS, PROGRESS, READY, REFUSED, STATE_FILE, Settings
from .world import World

log = logging.getLogger("lab")


class Control:
    """``POST /_lab/<word>`` with a JSON object."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.world: World | None = None

    def __call__(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        handler: Callable[..., dict[str, Any]] | None = getattr(self, "_do_" + path.strip("/"), None)
        if handler is None or self.world is None:
            raise ControlError(f"nothing serves /_lab/{path}", 404)
        try:
            return handler(self.world, **body)
        except LabError as error:
            raise ControlError(str(error), REFUSED if isinstance(error, Prerequisite) else 400) from error

    def _do_status(self, world: World) -> dict[str, Any]:
        return {**asdict(self.settings), **status.describe(world)}

    def _do_fault(self, world: World, kind: str, host: str = "", **options: Any) -> dict[str, Any]:
        return {"at": world.fault(kind, host, **options)}

    def _do_heal(self, world: World) -> dict[str, Any]:
        world.heal()
        return {}

    def _do_policy(self, world: World, document: dict[str, Any]) -> dict[str, Any]:
        """The roles of all nodes get this policy in place of the lab's own."""
        with world.api.lock:
            for zone in world.ids.zones.values():
                node_role.attach(zone.role, document)
        return {}

    def _do_command(self, world: World, host: str) -> dict[str, Any]:
        """The words before a command that make it run on a host."""
        target = world.host(host)
        if target.state != "on":
            raise LabError(f"{target.title} is {target.state}")
        return {"command": target.command([])}


class Reporter:
    """Lines of JSON to the command that waits for this process."""

    def __init__(self, descriptor: int) -> None:
        self._out = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8")

    def __call__(self, word: str, text: str = "") -> None:
        self._out.write(json.dumps([word, text]) + "\n")

    def close(self) -> None:
        """The command need not wait any longer."""
        self._out.close()


def main(settings: Settings, reporter: Reporter) -> int:
    """Run a lab until SIGTERM."""
    names = Names(settings.name)
    cleanup.record(names, "owner", os.getpid())
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    world = None
    try:
        world = _start(names, settings, reporter)
        reporter(READY)
        reporter.close()
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except LabError as error:
        log.error("%s", error)
        reporter(FAILED, str(error))
        return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if world is not None:
            world.stop()


def _start(names: Names, settings: Settings, reporter: Reporter) -> World:
    control = Control(settings)
    tell = partial(reporter, PROGRESS)
    maker = node_maker(settings.weight, names, tell)
    tell(f"starting the network and {len(settings.zones)} NAT nodes ({settings.weight})")
    world = World(
        names,
        zones=settings.zones,
        make_node=maker,
        control=control,
        enforce_iam=settings.enforce_iam,
        transition_s=settings.transition_s,
        ipv6=settings.ipv6,
        with_egress=settings.egress,
    )
    control.world = world
    status.write_known_hosts(world)
    state = {"endpoint": world.endpoint, "pid": os.getpid(), "call_log": str(world.call_log)}
    draft = names.run / (STATE_FILE + ".draft")
    draft.write_text(json.dumps(state), encoding="ascii")
    draft.rename(names.run / STATE_FILE)
    return world


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)  # lab/launch.py holds them while it starts this
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    sys.exit(main(Settings.load(sys.argv[1]), Reporter(int(sys.argv[2]))))
