# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's own check, and the rule that holds new connections while Squid reloads."""

from __future__ import annotations

import calendar
import re
import time

import pytest


@pytest.mark.parametrize(
    "line",
    [
        "2026/11/29 03:59:59| WARNING: empty ACL: acl y src",
        "2026/11/29 03:59:59| ERROR: Can not open file /nowhere for reading",
        "2026/11/29 03:59:59.123 kid1| FATAL: Bungled x.conf line 81: acl x dst 10.0.0.1/99",
        "2026/11/29 03:59:59| x.conf(81): unrecognized: 'nonsense'",
    ],
)
def test_a_warning_is_a_refusal_and_is_shown_without_its_time(check, line):
    assert check.complaints(line) == [line.partition("| ")[2]]


@pytest.mark.parametrize(
    "line",
    [
        "2026/11/29 03:59:59| Startup: Initialized Authentication.",
        "2026/11/29 03:59:59| WARNING: HTTP requires the use of Via",
        "2026/11/29 03:59:59| WARNING: BCP 177 violation. Detected non-functional IPv6 loopback.",
        "2026/11/29 03:59:59| Processing: acl WARNING src 10.0.0.0/8",
    ],
)
def test_progress_and_what_is_meant_so_are_none(check, line):
    assert check.complaints(line) == []


@pytest.mark.parametrize(
    ("engine", "line", "address"),
    [
        ("squid", "http_port 10.9.9.9:3128 tcpkeepalive=60,20,3", "10.9.9.9"),
        ("squid", "http_port [2001:db8::9]:3128", "2001:db8::9"),
        ("squid", "tcp_outgoing_address 2001:db8::9 all", "2001:db8::9"),
        ("tinyproxy", "listen 10.9.9.9", "10.9.9.9"),
        ("tinyproxy", 'Bind "10.9.9.9"  # out', "10.9.9.9"),
    ],
)
def test_an_address_that_this_host_lacks_is_named_with_those_that_it_has(check, engine, line, address):
    said = check.foreign(engine, f"# a comment\n{line}\n")
    assert said.startswith(line.split("#")[0].strip().replace("  ", " ")) or '"' in line
    assert f"this host has no address {address}; it has " in said and "127.0.0.1" in said


@pytest.mark.parametrize(
    ("engine", "line"),
    [
        ("squid", "http_port 3128 tcpkeepalive=60,20,3"),
        ("squid", "http_port 127.0.0.1:3128"),
        ("squid", "http_port proxy.test:3128"),
        ("squid", "udp_outgoing_address 255.255.255.255"),
        ("squid", "# http_port 10.9.9.9:3128"),
        ("squid", "acl x dst 10.9.9.9"),
        ("tinyproxy", "Port 3128"),
        ("tinyproxy", "Listen 0.0.0.0"),
        ("tinyproxy", "Allow 10.9.9.9"),
    ],
)
def test_other_lines_name_none(check, engine, line):
    assert check.foreign(engine, line) == ""


TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0C38 00000000:0000 0A 00000000:00000000 00:00000000 00000000    13        0 4711 1
   1: 0100007F:0C39 00000000:0000 01 00000000:00000000 00:00000000 00000000    13        0 4712 1
"""


def test_listening_sockets_are_read_from_the_kernels_table(check):
    assert check.listening(TABLE) == {3128: {"4711"}}


def test_the_hold_ends_by_itself(reload):
    now = calendar.timegm((2026, 11, 29, 23, 59, 58))
    text = reload.hold(3128, now)
    stop = re.search(r"--datestop (\S+) -j DROP", text).group(1)
    assert calendar.timegm(time.strptime(stop, "%Y-%m-%dT%H:%M:%S")) == now + reload.ENDS_S
    assert "--dport 3128 --syn" in text and reload.HOLD_S < reload.ENDS_S


def test_the_release_takes_away_each_jump_and_the_chain(reload):
    saved = ":AWS-HA-PROXY-RELOAD - [0:0]\n-A INPUT -j AWS-HA-PROXY-RELOAD\n-A INPUT -j AWS-HA-PROXY-RELOAD\n-A INPUT -j OTHER\n"
    lines = reload.release(saved).splitlines()
    assert lines.count("-D INPUT -j AWS-HA-PROXY-RELOAD") == 2
    assert "-X AWS-HA-PROXY-RELOAD" in lines and not [line for line in lines if "OTHER" in line]
    assert reload.release("-A INPUT -j OTHER\n") == ""


def test_a_reload_needs_systemd(reload, monkeypatch, capsys):
    monkeypatch.delenv("MAINPID", raising=False)
    assert reload.main(["reload"]) == 1
    assert "MAINPID" in capsys.readouterr().err
