# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolver falls silent and comes back: the engine lives through it, and knows names again at once."""

from __future__ import annotations

import time

import pytest

from tests.integration.proxy import world
from tests.integration.proxy.conftest import ENGINES, START_S, ask, fetch, running, sh

SILENT_S = 8.0
RULE = ["-p", "udp", "--dport", "53", "-j", "DROP"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lost_resolver_ends_no_engine(net, planner, engine, capsys):
    outside = ["ip", "netns", "exec", net.outside, "iptables"]
    with running(net, planner(engine=engine)) as process:
        assert page(net, "before.ok.test") == 200
        sh(*outside, "-I", "INPUT", *RULE)
        try:
            begun = time.monotonic()
            assert page(net, "lost.ok.test") != 200
            time.sleep(max(0.0, begun + SILENT_S - time.monotonic()))
        finally:
            sh(*outside, "-D", "INPUT", *RULE)
        back = time.monotonic()
        while page(net, "lost.ok.test") != 200:  # the name that was asked for in vain
            assert time.monotonic() < back + START_S, "still no name"
            time.sleep(0.1)
        with capsys.disabled():
            print(f"\n  {engine}: names are known {time.monotonic() - back:.1f} s after the resolver is back")
        assert process.poll() is None


def page(net, host):
    [(code, _text)] = ask(net, [(world.CLIENT, fetch(f"http://{host}/"))])
    return code
