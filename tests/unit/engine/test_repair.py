# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-repair: two words and no more, and an end to it when somebody else keeps undoing it."""

from __future__ import annotations

import asyncio
import types

import pytest

from nat_failover.host import kernel as system
from nat_failover.host import repair_helper as repair
from nat_failover.host.repair_helper import MOST, RULES, SYSCTLS, WINDOW, Mender
from nat_failover.model.settings import Nat

CONFIG = types.SimpleNamespace(nat=Nat(("10.0.0.0/16",), "ens5.7"))
DUAL = types.SimpleNamespace(nat=Nat(("10.0.0.0/16", "2001:db8::/56"), "ens5.7"))


def no_runner(argv, *, timeout, stdin=""):
    return 127, "", "iptables-save: not found"


@pytest.fixture
def proc(tmp_path):
    found = {
        "net/ipv4/ip_forward": "0",
        "net/ipv4/conf/ens5.7/rp_filter": "1",
        "net/ipv6/conf/ens5.7/accept_ra": "1",
        "net/ipv6/conf/all/forwarding": "0",
    }
    for key, value in found.items():
        path = tmp_path / "sys" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n", encoding="ascii")
    return tmp_path


def test_sysctls_are_set_once(proc):
    assert repair.answer(SYSCTLS, CONFIG, no_runner, str(proc)) == "mended"
    assert (proc / "sys/net/ipv4/ip_forward").read_text(encoding="ascii") == "1"
    assert (proc / "sys/net/ipv4/conf/ens5.7/rp_filter").read_text(encoding="ascii") == "2"
    assert repair.answer(SYSCTLS, CONFIG, no_runner, str(proc)) == "nothing to mend"


def test_connection_tracking_is_made_liberal_where_there_is_one(proc):
    assert repair.answer(SYSCTLS, CONFIG, no_runner, str(proc)) == "mended"
    strict = proc / "sys/net/netfilter/nf_conntrack_tcp_be_liberal"
    assert not strict.exists()
    strict.parent.mkdir(parents=True)
    strict.write_text("0\n", encoding="ascii")
    assert repair.answer(SYSCTLS, CONFIG, no_runner, str(proc)) == "mended"
    assert strict.read_text(encoding="ascii") == "1"


def test_sysctls_of_ipv6_are_set_where_it_is_asked_for(proc):
    repair.answer(SYSCTLS, CONFIG, no_runner, str(proc))
    assert (proc / "sys/net/ipv6/conf/all/forwarding").read_text(encoding="ascii") == "0\n"
    assert repair.answer(SYSCTLS, DUAL, no_runner, str(proc)) == "mended"
    assert (proc / "sys/net/ipv6/conf/all/forwarding").read_text(encoding="ascii") == "1"
    assert (proc / "sys/net/ipv6/conf/ens5.7/accept_ra").read_text(encoding="ascii") == "2"


def test_what_cannot_be_mended_is_one_line(tmp_path):
    assert "net/ipv4/ip_forward cannot be set to 1: " in repair.answer(SYSCTLS, CONFIG, no_runner, str(tmp_path))
    assert repair.answer(RULES, CONFIG, no_runner).startswith("failed: iptables-save failed (127)")


@pytest.mark.parametrize("word", ["", "rules ; reboot", "RULES", "x" * 90])
def test_other_words_are_refused(word):
    line = repair.answer(word, CONFIG, lambda *_args, **_more: pytest.fail("it ran something"))
    assert line.startswith("failed: unknown word") and "\n" not in line


def test_rules(monkeypatch):
    asked = []
    monkeypatch.setattr(system, "apply_rules", lambda *args: bool(asked.append(args)) or True)
    assert repair.answer(RULES, CONFIG, no_runner) == "mended"
    assert asked == [(CONFIG.nat, no_runner)]


# --- the asking side ---------------------------------------------------------------------------------------------------------------


def mend(path, word, line):
    """``Mender.mend`` with a helper that answers ``line``; what it was asked, and the result."""
    asked = []

    async def helper(reader, writer):
        asked.append(await reader.readline())
        writer.write(line)
        writer.close()

    async def body():
        server = await asyncio.start_unix_server(helper, path)
        try:
            return await Mender(path, lambda: 0.0).mend(word)
        finally:
            server.close()

    return asked, asyncio.run(body())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"mended\n", ""),
        (b"nothing to mend\n", ""),
        (b"failed: no\n", "failed: no"),
        (b"", "the helper ended without an answer"),
    ],
)
def test_answers(tmp_path, line, problem):
    asked, found = mend(str(tmp_path / "s"), RULES, line)
    assert (asked, found) == ([b"rules\n"], problem)


def test_no_helper(tmp_path):
    mender = Mender(str(tmp_path / "s"), lambda: 0.0)
    assert not mender.available
    assert "No such file" in asyncio.run(mender.mend(RULES))


async def mended(word):
    return repair.CHANGED


def test_a_helper_that_failed_is_left_alone_for_a_while(tmp_path):
    now = [0.0]
    mender = Mender(str(tmp_path / "s"), lambda: now[0])
    problem = asyncio.run(mender.mend(RULES))
    mender._ask = mended
    assert asyncio.run(mender.mend(RULES)) == problem
    assert mender.fight(RULES) == "", "a repair that failed is no fight"
    now[0] = repair.AGAIN_AFTER
    assert asyncio.run(mender.mend(RULES)) == ""


def test_a_fight_is_seen_and_forgotten_after_a_while(tmp_path):
    now = [0.0]
    mender = Mender(str(tmp_path / "s"), lambda: now[0])
    mender._ask = mended
    for count in range(MOST):
        assert mender.fight(RULES) == "", count
        assert asyncio.run(mender.mend(RULES)) == ""
        now[0] += 10
    assert "undone again" in mender.fight(RULES)
    assert mender.fight(SYSCTLS) == "", "each has its own count"
    now[0] = WINDOW + 1
    assert mender.fight(RULES) == ""
