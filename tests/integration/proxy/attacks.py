# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of a client that tries to reach more than the internet, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.integration.proxy import world
from tests.integration.proxy.conftest import Net, ask, bare, connect, fetch

ALLOWED = {(address, port) for address in (world.PUBLIC, world.PUBLIC6) for port in (80, 443)}
LIST = {"policy": "allow_list", "destinations": [".ok.test"]}
# Spellings of places that nobody may reach. With the list, each name in them is an allowed one.
NAMES = ("meta", "meta6", "vpc", "vpc6", "mapped", "nat64", "loop", "self", "both", "both2")
LITERALS = (
    *("169.254.169.254", "10.77.5.5", "127.0.0.1", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"),
    *("[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[::1]", "[2001:db8:0:100::5]", "[::ffff:a9fe:a9fe]", "localhost"),
)
REBINDING = [f"rebind{number}.ok.test" for number in range(10)] + ["rebind.ok.test"] * 10
TRIALS = {
    **{f"GET {name}": fetch(f"http://{name}.ok.test/") for name in NAMES},
    **{f"CONNECT {name}": connect(f"{name}.ok.test:443") for name in NAMES},
    **{f"GET {each}": fetch(f"http://{each}/") for each in LITERALS},
    **{f"CONNECT {each}": connect(f"{each}:443") for each in LITERALS},
    **{f"GET port {port}": fetch(f"http://www.ok.test:{port}/") for port in (22, 25, 8080)},
    **{f"CONNECT port {port}": connect(f"www.ok.test:{port}") for port in (22, 25, 80, 8080)},
    "capitals": fetch("http://META.OK.TEST/"),
    "a dot at the end": fetch("http://meta.ok.test./"),
    "TRACE": fetch("http://meta.ok.test/").replace("GET", "TRACE", 1),
    "Host says another": fetch("http://meta.ok.test/", Host="www.ok.test"),
    "Host says metadata": fetch("http://www.ok.test/", Host=world.METADATA),
    "a user before the host": fetch(f"http://www.ok.test@{world.METADATA}/"),
    "a user with a colon": fetch(f"http://www.ok.test:80@{world.METADATA}/"),
    "a backslash": fetch(f"http://{world.METADATA}\\.www.ok.test/"),
    "a fragment": fetch(f"http://{world.METADATA}#.ok.test/"),
    "a tab": fetch(f"http://{world.METADATA}\t.ok.test/"),
    "a zero byte": fetch(f"http://{world.METADATA}\0.ok.test/"),
    "a relative target": "GET / HTTP/1.1\r\nHost: meta.ok.test\r\nConnection: close\r\n\r\n",
    "ftp": fetch("ftp://meta.ok.test/"),
    "two Hosts": f"GET http://meta.ok.test/ HTTP/1.1\r\nHost: www.ok.test\r\nHost: {world.METADATA}\r\nConnection: close\r\n\r\n",
    "the manager": fetch("cache_object://localhost/info"),
    "the manager by name": fetch(f"http://{world.PROXY}:3128/squid-internal-mgr/info"),
}
# The walls of which there are some: variables of the role, and a change of the engine's file.
WALLS: dict[str, tuple[dict[str, Any], Callable[[str], str]]] = {
    "with a list": (LIST, str),
    "without a list": ({}, str),
    "the guard alone": ({}, bare),
}


class Found(NamedTuple):
    """``leaks``: places where a connection arrived that must not. ``told``: trials whose answer came from another place."""

    leaks: list[tuple[str, int]]
    told: list[str]


def attack(net: Net) -> Found:
    """All of it, against the proxy that runs."""
    mark = net.mark()
    asked = {**TRIALS, **{f"{number}: {name}": fetch(f"http://{name}/") for number, name in enumerate(REBINDING)}}
    found = dict(zip(asked, ask(net, [(world.CLIENT, request) for request in asked.values()]), strict=True))
    told = [
        name
        for name, (_code, text) in found.items()
        if world.METADATA in text.partition("this is ")[2]
        or ("this is" in text and world.PUBLIC not in text and world.PUBLIC6 not in text)
    ]
    return Found([each for each in net.reached(mark) if each not in ALLOWED], told)
