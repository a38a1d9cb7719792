# SPDX-License-Identifier: GPL-3.0-or-later
"""A client makes the proxy reach the internet on its ports, and nothing else, by whatever name or spelling.

Judged by what arrives in the world, not by what the proxy says.
"""

from __future__ import annotations

import pytest

from tests.integration.proxy import world
from tests.integration.proxy.attacks import ALLOWED, LIST, TRIALS, WALLS, attack
from tests.integration.proxy.conftest import ENGINES, ask, connect, fetch, running


@pytest.mark.parametrize("wall", WALLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_but_the_internet_is_reached(net, planner, engine, wall):
    variables, change = WALLS[wall]
    with running(net, planner(engine=engine, **variables), change):
        assert attack(net) == ([], [])
        # The proxy is as well as before.
        wanted = [fetch("http://www.ok.test/"), connect("www.ok.test:443"), fetch("http://six.ok.test/")]
        assert [code for code, _text in ask(net, [(world.CLIENT, each) for each in wanted])] == [200, 200, 200]


@pytest.mark.parametrize("engine", ENGINES)
def test_strangers_are_refused(net, planner, engine):
    with running(net, planner(engine=engine)):
        mark = net.mark()
        found = ask(net, [(world.STRANGER, fetch("http://www.ok.test/")), (world.STRANGER, connect("www.ok.test:443"))])
        assert [code for code, _text in found] == [403, 403]
        assert net.reached(mark) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_names_beside_the_list_are_refused(net, planner, engine):
    beside = [
        "evil.test",
        "ok.test.evil.test",
        "evilok.test",
        "www.ok.test.evil",
        world.PUBLIC,
        "xn--ok.test",
        "ok-test",
    ]
    with running(net, planner(engine=engine, **LIST)):
        mark = net.mark()
        found = ask(
            net,
            [
                (world.CLIENT, request)
                for name in beside
                for request in (fetch(f"http://{name}/"), connect(f"{name}:443"))
            ],
        )
        assert {code for code, _text in found} == {403}
        assert net.reached(mark) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_names_may_be_denied_where_all_others_are_allowed(net, planner, engine):
    with running(net, planner(engine=engine, destinations_denied=[".evil.test", "*.half.test"])):
        names = {"evil.test": 403, "x.evil.test.": 403, "x.half.test": 403, "half.test": 200, "www.ok.test": 200}
        found = ask(net, [(world.CLIENT, fetch(f"http://{name}/")) for name in names])
        assert dict(zip(names, [code for code, _text in found], strict=True)) == names


@pytest.mark.parametrize("engine", ENGINES)
def test_a_hole_opens_one_place_on_one_port(net, planner, engine):
    holes = [{"network": f"{world.HOST}/32", "port": 8080}]
    with running(net, planner(engine=engine, private_destinations=holes)):
        mark = net.mark()
        asked = [
            "http://vpc.ok.test:8080/",
            "http://vpc.ok.test/",
            "http://meta.ok.test:8080/",
            f"http://{world.METADATA}:8080/",
        ]
        found = ask(net, [(world.CLIENT, fetch(url)) for url in asked])
        assert [code == 200 for code, _text in found] == [True, False, False, False]
        assert net.reached(mark) == [(world.HOST, 8080)]


def test_without_the_guard_this_table_finds_leaks(net, planner):
    """The table's own proof: with the guard off, Tinyproxy hands metadata to whoever asks."""
    plan = planner(engine="tinyproxy", guard=False, guard_off_understood=True)
    with running(net, plan):
        mark = net.mark()
        ask(net, [(world.CLIENT, request) for request in TRIALS.values()])
        leaks = {each for each in net.reached(mark) if each not in ALLOWED}
        assert {(world.METADATA, 80), (world.HOST, 80), (world.METADATA6, 80), (world.PUBLIC, 22)} <= leaks


@pytest.mark.parametrize("engine", ENGINES)
def test_the_guard_comes_and_goes_without_a_break(net, planner, engine):
    """A reload of the guard replaces its rules at once: what flows goes on, and nothing leaks meanwhile."""
    plan = planner(engine=engine)
    other = planner(engine=engine, ports=[80, 443, 8443])
    with running(net, plan):
        mark = net.mark()
        for turn in range(6):
            net.guard(other if turn % 2 else plan, "apply")
            found = ask(
                net, [(world.CLIENT, fetch("http://www.ok.test/")), (world.CLIENT, fetch("http://meta.ok.test/"))]
            )
            assert found[0][0] == 200 and found[1][0] != 200
        assert set(net.reached(mark)) == {(world.PUBLIC, 80)}
