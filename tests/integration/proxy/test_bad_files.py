# SPDX-License-Identifier: GPL-3.0-or-later
"""The real engines judge bad files before one of them replaces a good one. Needs root and both engines, and no lab."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.integration.proxy.conftest import ENGINES, FILES, PROGRAMS, render

LIST = {"policy": "allow_list", "destinations": [".ok.test"]}
# A line behind the role's own, and a word of the engine's complaint.
BAD_LINES = {
    "squid": {
        "an unknown directive": ("nonsense on", "nonsense"),
        "an unknown kind of list": ("acl x nonsense 1", "nonsense"),
        "a list that is not defined": ("http_access allow nobody", "nobody"),
        "a number that is none": ("connect_timeout soon", "soon"),
        "a unit that is none": ("connect_timeout 5 lightyears", "lightyears"),
        "a mask that is none": ("acl x src 10.0.0.1/99", "10.0.0.1/99"),
        "bits behind the mask": ("acl x src 10.0.0.5/8", "10.0.0.5/8"),
        "a list in a file that is not there": ('acl x src "/nowhere/list"', "/nowhere/list"),
        "an empty list": ('acl x src "/dev/null"', "mpty ACL"),
        "a name below another": ("acl x dstdomain .a.test .b.a.test", "a.test"),
        "a kind of list that changes": ("acl x src 10.0.0.0/8\nacl x port 80", "acl x port"),
        "a port on an address of another host": ("http_port 10.9.9.9:3130", "no address 10.9.9.9; it has 127.0.0.1"),
        "a way out by another host": ("tcp_outgoing_address 10.9.9.9", "no address 10.9.9.9; it has 127.0.0.1"),
        "an expression that does not compile": ("acl x url_regex ([a-z", "[a-z"),
    },
    "tinyproxy": {
        "an unknown directive": ("Nonsense On", "line"),
        "a number that is none": ("Timeout soon", "line"),
        "a word that is none": ("DisableViaHeader Perhaps", "line"),
        "a level that is none": ("LogLevel Loud", "line"),
        "an upstream that is none": ("Upstream nonsense 192.0.2.9:99999", "line"),
        "a port on an address of another host": ("Listen 10.9.9.9", "no address 10.9.9.9; it has 127.0.0.1"),
        "a way out by another host": ("Bind 10.9.9.9", "no address 10.9.9.9; it has 127.0.0.1"),
        "a list that is not there": ('Filter "/nowhere/list"', "filter file: No such file"),
    },
}
BAD_EXPRESSIONS = {"an open bracket": "([a-z", "an open brace": "a{1", "a repetition of nothing": "*a)("}
BAD = [(engine, name) for engine, lines in BAD_LINES.items() for name in lines]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    if os.geteuid() != 0:
        pytest.fail("the engines are asked as their own users: this needs root")
    missing = [argv[0] for argv in PROGRAMS.values() if not os.path.exists(argv[0])]
    assert not missing, f"apt-get install squid tinyproxy: {missing} are not here"
    spec = importlib.util.spec_from_file_location("proxy_check", FILES / "proxy_check.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def good(planner: Any, tmp_path: Path) -> Any:
    def made(engine: str, **changes: Any) -> Path:
        tmp_path.chmod(0o755)
        return render(planner(engine=engine, **changes), tmp_path)

    return made


@pytest.mark.parametrize("engine", ENGINES)
def test_the_file_of_the_role_is_good(check, good, engine):
    assert check.check(engine, str(good(engine))) == ""


def test_the_lists_of_the_role_are_good(check, good):
    assert check.check("squid", str(good("squid", **LIST))) == ""
    assert check.check("filter", str(good("tinyproxy", **LIST).with_name("filter"))) == ""


def test_an_address_of_this_host_is_good(check, good):
    """Tinyproxy starts for the check where no address is."""
    own = next(each for each in check.own_addresses() if "." in each and each != "127.0.0.1")
    for engine, line in (("squid", f"http_port {own}:3130"), ("tinyproxy", f"Listen {own}\nListen 127.0.0.1")):
        file = good(engine)
        file.write_text(f"{file.read_text(encoding='ascii')}{line}\n", encoding="ascii")
        assert check.check(engine, str(file)) == ""


@pytest.mark.parametrize(("engine", "name"), BAD)
def test_a_bad_line_is_refused_by_name(check, good, engine, name):
    line, word = BAD_LINES[engine][name]
    file = good(engine)
    file.write_text(f"{file.read_text(encoding='ascii')}{line}\n", encoding="ascii")
    assert word in check.check(engine, str(file))


@pytest.mark.parametrize("name", BAD_EXPRESSIONS)
def test_a_bad_expression_is_refused(check, tmp_path, name):
    file = tmp_path / "list"
    file.write_text(f"^ok[.]test$\n{BAD_EXPRESSIONS[name]}\n", encoding="ascii")
    assert check.check("filter", str(file)) != ""
