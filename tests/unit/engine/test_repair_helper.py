# SPDX-License-Identifier: GPL-3.0-or-later
"""The root helper of self-repair: two words and no more."""

from __future__ import annotations

import types

import pytest

from nat_failover.host import netfilter, repair_helper
from nat_failover.host.repair_helper import RULES, SYSCTLS
from nat_failover.model.nat import Nat

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
    assert repair_helper.answer(SYSCTLS, CONFIG, no_runner, str(proc)) == "mended"
    assert (proc / "sys/net/ipv4/ip_forward").read_text(encoding="ascii") == "1"
    assert (proc / "sys/net/ipv4/conf/ens5.7/rp_filter").read_text(encoding="ascii") == "2"
    assert repair_helper.answer(SYSCTLS, CONFIG, no_runner, str(proc)) == "nothing to mend"


def test_connection_tracking_is_made_liberal_where_there_is_one(proc):
    assert repair_helper.answer(SYSCTLS, CONFIG, no_runner, str(proc)) == "mended"
    strict = proc / "sys/net/netfilter/nf_conntrack_tcp_be_liberal"
    assert not strict.exists()
    strict.parent.mkdir(parents=True)
    strict.write_text("0\n", encoding="ascii")
    assert repair_helper.answer(SYSCTLS, CONFIG, no_runner, str(proc)) == "mended"
    assert strict.read_text(encoding="ascii") == "1"


def test_sysctls_of_ipv6_are_set_where_it_is_asked_for(proc):
    repair_helper.answer(SYSCTLS, CONFIG, no_runner, str(proc))
    assert (proc / "sys/net/ipv6/conf/all/forwarding").read_text(encoding="ascii") == "0\n"
    assert repair_helper.answer(SYSCTLS, DUAL, no_runner, str(proc)) == "mended"
    assert (proc / "sys/net/ipv6/conf/all/forwarding").read_text(encoding="ascii") == "1"
    assert (proc / "sys/net/ipv6/conf/ens5.7/accept_ra").read_text(encoding="ascii") == "2"


def test_what_cannot_be_mended_is_one_line(tmp_path):
    assert "net/ipv4/ip_forward cannot be set to 1: " in repair_helper.answer(SYSCTLS, CONFIG, no_runner, str(tmp_path))
    assert repair_helper.answer(RULES, CONFIG, no_runner).startswith("failed: iptables-save failed (127)")


@pytest.mark.parametrize("word", ["", "rules ; reboot", "RULES", "x" * 90])
def test_other_words_are_refused(word):
    line = repair_helper.answer(word, CONFIG, lambda *_args, **_more: pytest.fail("it ran something"))
    assert line.startswith("failed: unknown word") and "\n" not in line


def test_rules(monkeypatch):
    asked = []
    monkeypatch.setattr(netfilter, "apply_rules", lambda *args: bool(asked.append(args)) or True)
    assert repair_helper.answer(RULES, CONFIG, no_runner) == "mended"
    assert asked == [(CONFIG.nat, no_runner)]
