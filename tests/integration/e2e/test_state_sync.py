# SPDX-License-Identifier: GPL-3.0-or-later
"""Level 2 of identities: conntrackd brings connections to the heir, so that also a client goes on that only listens.

The tests in tests/integration/sync show the effect of conntrackd on packets. Here the service gives it its orders.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.traffic.driver import KINDS
from tests.integration.e2e.identities import carries, running_identities
from tests.integration.e2e.synchronised import Synchronised
from tests.integration.e2e.test_identities import CLIENTS_SEND, began, go_on, traffic

pytestmark = [
    pytest.mark.skipif(not shutil.which("conntrackd"), reason="needs conntrackd"),
    pytest.mark.timeout(600),
]
MANY = 500

HOME = {"nat-a": {"nat-a": "here", "nat-b": "away"}, "nat-b": {"nat-a": "away", "nat-b": "here"}}


def settled(cluster: Synchronised) -> bool:
    """Whether both nodes are arranged for identities that are at home, and see nothing wrong."""
    return all(cluster.arranged(node) == HOME[node] and not cluster.problem(node) for node in HOME)


def test_silent_clients_go_on_at_the_heir_and_back_at_home(tmp_path: Path) -> None:
    with (
        running_identities(tmp_path, make=Synchronised) as cluster,
        traffic(cluster, KINDS, held=MANY) as running,
    ):
        assert isinstance(cluster, Synchronised)
        began(cluster, running)
        cluster.wait("conntrackd is arranged", lambda: settled(cluster), 30)
        cluster.lab.fault("kill", "nat-a")
        cluster.wait("the identity is at nat-b", lambda: carries(cluster, "a", "nat-b"), 30)
        go_on(cluster, running, *KINDS)
        held = running.ask_held(MANY)
        assert (held["alive"], held["reset"]) == (MANY, 0)
        cluster.wait("nat-b is arranged", lambda: cluster.arranged("nat-b") == dict.fromkeys(HOME, "here"), 20)
        cluster.wait("nat-a takes its route back", lambda: cluster.lab.owner("a") == "nat-a", 60)
        cluster.wait("the identity is at home", lambda: carries(cluster, "a", "nat-a"), 30)
        go_on(cluster, running, *KINDS)
        held = running.ask_held(MANY)
        assert (held["alive"], held["reset"]) == (MANY, 0)
        cluster.wait("both are arranged again", lambda: settled(cluster), 30)
        assert not any(flow.error for flow in running.seen().flows.values())
        go_on(cluster, running, *KINDS)


@pytest.mark.nightly
def test_without_conntrackd_the_identity_moves_as_at_level_1_and_the_operator_is_told(tmp_path: Path) -> None:
    with running_identities(tmp_path, make=Synchronised) as cluster, traffic(cluster, CLIENTS_SEND) as running:
        assert isinstance(cluster, Synchronised)
        began(cluster, running)
        cluster.wait("conntrackd is arranged", lambda: settled(cluster), 30)
        daemon = cluster.daemons["nat-b"]
        daemon.kill()
        daemon.wait()
        cluster.wait("nat-b tells it", lambda: "conntrackd" in cluster.problem("nat-b"), 90)
        codes = [row["code"] for row in cluster.status("nat-b")["problems"]]
        assert "state_sync" in codes
        cluster.lab.fault("kill", "nat-a")
        cluster.wait("the identity is at nat-b", lambda: carries(cluster, "a", "nat-b"), 30)
        go_on(cluster, running, *CLIENTS_SEND)
