# SPDX-License-Identifier: GPL-3.0-or-later
"""journald of a real machine that is stopped with its sockets, or hangs: lines are lost and counted, and takeovers go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.fleet.conftest import Fleet

SOCKETS = ("systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald-audit.socket")
SERVICE = "systemd-journald.service"
STOPPED = "it is stopped"
WAYS = {  # (command that breaks it, command that mends it)
    STOPPED: (("systemctl", "stop", *SOCKETS, SERVICE), ("systemctl", "start", *SOCKETS[:2], SERVICE)),
    "it hangs": (
        ("systemctl", "kill", "--signal=STOP", SERVICE),
        ("systemctl", "kill", "--signal=CONT", SERVICE),
    ),
}


@pytest.fixture(params=WAYS)
def broken(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[str]:
    """The journal of nat-b takes nothing; afterwards it does, and everything is at home."""
    broken, mended = WAYS[request.param]
    fleet.node("nat-b", *broken)
    yield request.param
    fleet.node("nat-b", *mended)
    fleet.lab.heal()
    fleet.settle()
    fleet.wait("nat-a is back", lambda: fleet.status("nat-b")["verdicts"][0]["verdict"] == "healthy", 90)


def lost(fleet: Fleet) -> bool:
    """Whether nat-b says that lines were lost."""
    return "lost_lines" in {problem["code"] for problem in fleet.status("nat-b")["problems"]}


def test_a_node_dies_and_is_taken_over(fleet: Fleet, broken: str) -> None:
    main = fleet.node("nat-b", "systemctl", "show", "--property=MainPID", "nat-failover.service")
    fleet.lab.fault("kill", "nat-a")
    fleet.wait("nat-b takes over", lambda: fleet.lab.owner("a") == "nat-b", 10)
    if broken == STOPPED:
        fleet.wait("the loss is told", lambda: lost(fleet), 10)
    assert fleet.node("nat-b", "systemctl", "show", "--property=MainPID", "nat-failover.service") == main
