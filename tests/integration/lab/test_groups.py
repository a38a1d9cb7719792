# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups as the lab has them: what each kind does with a packet from the middle of a flow (EC2 User Guide, "connection tracking")."""

from __future__ import annotations

import pytest

from lab.errors import Prerequisite
from lab.fabric.names import INTERNET
from lab.testing import RunningLab
from tests.integration.lab.packets import PORT, connection, echoes, received, seen, udp

PUBLIC = "203.0.113.10"


@pytest.mark.parametrize(("mode", "alive"), [("open", True), ("accepting", True), ("syn", False)])
def test_the_middle_of_a_flow(lab: RunningLab, mode: str, alive: bool) -> None:
    with connection(lab) as before:
        assert echoes(before)
        lab.fault("group", "nat-a", mode=mode)
        assert echoes(before) is alive
        with connection(lab) as after:
            assert echoes(after)


@pytest.mark.parametrize(("mode", "reached"), [("open", True), ("accepting", False), ("syn", False)])
def test_what_comes_in(lab: RunningLab, mode: str, reached: bool) -> None:
    lab.fault("group", "nat-a", mode=mode)
    with udp(lab, "internet", INTERNET, PORT) as server, udp(lab, "nat-a", port=4000, to=(INTERNET, PORT)) as node:
        node.settimeout(0.5)
        server.sendto(b"unasked", (PUBLIC, 4000))
        assert received(node) == (b"unasked" if reached else b"")
        assert seen(server, node) == PUBLIC
        server.sendto(b"more", (PUBLIC, 4000))
        assert received(node) == b"more"
    assert lab.ping("nat-a", INTERNET) and lab.ping("client-a", "10.0.0.10")


def test_a_kind_that_there_is_not(lab: RunningLab) -> None:
    with pytest.raises(Prerequisite, match="a security group is one of open, accepting, syn, not 'closed'"):
        lab.fault("group", "nat-a", mode="closed")
    assert lab.network is not None
    lab.fault("group", "nat-a", mode="syn")
    assert lab.network.security_groups == {"nat-a": "syn"}
    lab.heal()
    assert lab.network.security_groups == {}
