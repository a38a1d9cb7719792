# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammar of destinations through the real engines: both let through exactly what it means."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.proxy import world
from tests.integration.proxy.conftest import ENGINES, ask, fetch, running

LISTS = (
    ["a.test", ".b.test", "*.c.test"],
    ["a.b.test", ".c.a.test", "*.b.c.test", "xn--bcher-kva.test", "a-b.test"],
    [".test"],
    ["*.test"],
)
LABEL = st.sampled_from(["a", "b", "c", "a-b", "ab", "xn--bcher-kva", "test"])
NAME = st.tuples(
    st.lists(LABEL, min_size=0, max_size=3),
    st.sampled_from(["test", "test", "test", "evil", "testx"]),
    st.sampled_from(["", "", "."]),
)
HOSTS = st.lists(NAME.map(lambda each: ".".join([*each[0], each[1]]) + each[2]), min_size=30, max_size=30)


def answers(net, hosts):
    """The status code of a request for each host; 0: no answer."""
    found = ask(net, [(world.CLIENT, fetch(f"http://{host}/")) for host in hosts])
    return {host: code for host, (code, _text) in zip(hosts, found, strict=True)}


@pytest.mark.parametrize("entries", LISTS, ids=" ".join)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_means_what_the_grammar_means(net, planner, engine, entries):
    grammar = planner.destinations
    destinations = grammar.parse_all("x", entries)

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(hosts=HOSTS)
    def compare(hosts: list[str]) -> None:
        hosts = [host.upper() if number % 5 == 0 else host for number, host in enumerate(dict.fromkeys(hosts))]
        said = answers(net, hosts)
        # No answer at all is neither a yes nor a no: a busy machine is asked once more.
        said |= answers(net, [host for host, code in said.items() if code == 0])
        health = [host for host in hosts if host.lower().rstrip(".") == "health.ok.test"]
        wanted = {host: 200 if grammar.matches_any(destinations, host) else 403 for host in hosts if host not in health}
        assert {host: said[host] for host in wanted} == wanted

    with running(net, planner(engine=engine, policy="allow_list", destinations=entries)):
        compare()
