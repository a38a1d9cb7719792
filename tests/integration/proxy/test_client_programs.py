# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that the role ``proxy_client`` writes means the same to all programs: what goes through the proxy, and what never does."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.proxy import programs

URL = "http://127.0.0.1:PORT"
NO_PROXY = [".internal.test", "mirror.test", "10.7.7.7"]
DIRECT = (
    *("http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://localhost:9/", "http://127.0.0.1:9/"),
    *("http://host.internal.test/", "http://a.b.internal.test/", "http://mirror.test/", "http://10.7.7.7/"),
)
PROXIED = ("http://deb.other.test/", "http://internal.test.other.test/", "http://10.7.7.8/")
# An older requests, which Debian 12's pip contains, takes a host for each name that ends with it.
ENDS_SO, BY_ENDS = "http://notmirror.test/", ("pip",)
NAMES = tuple(programs.COMMANDS)


@pytest.fixture(scope="module")
def asked(planner: Any) -> dict[str, list[str]]:
    """By program and URL: what the proxy was asked for."""
    direct = planner.clients.in_all_forms((*planner.clients.ALWAYS_DIRECT, *NO_PROXY))
    given = {"variables": planner.clients.variables(URL, direct), "urls": [*DIRECT, *PROXIED, ENDS_SO]}
    argv = ["unshare", "--net", "--", sys.executable, programs.__file__]
    done = subprocess.run(argv, input=json.dumps(given), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("program", NAMES)
def test_what_is_named_never_goes_through_the_proxy(asked: dict[str, list[str]], program: str) -> None:
    assert {url: asked[f"{program} {url}"] for url in DIRECT if asked[f"{program} {url}"]} == {}


@pytest.mark.parametrize("program", NAMES)
def test_all_the_rest_does(asked: dict[str, list[str]], program: str) -> None:
    wanted = [*PROXIED, *([] if program in BY_ENDS else [ENDS_SO])]
    host = {url: url.split("/")[2] for url in wanted}
    assert [url for url in wanted if not any(host[url] in line for line in asked[f"{program} {url}"])] == []
