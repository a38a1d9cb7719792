# SPDX-License-Identifier: GPL-3.0-or-later
"""When a drained proxy is quiet: what is counted, for how long, and what is left behind."""

from __future__ import annotations

import pytest

SAVED = """*raw
:PREROUTING ACCEPT [9:900]
:AWS-HA-PROXY-COUNT - [0:0]
[12:720] -A PREROUTING -j AWS-HA-PROXY-COUNT
[7:420] -A AWS-HA-PROXY-COUNT ! -i lo -p tcp -m tcp --dport 3128 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL
COMMIT
"""
PLAIN = "\n".join(line.partition("] ")[2] or line for line in SAVED.splitlines())


class Time:
    """A clock that only a sleep moves, and clients that connect at these seconds."""

    def __init__(self, connections=()):
        self.now, self.connections = 0.0, connections

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def count(self):
        return len([each for each in self.connections if each <= self.now])

    def wait(self, quiet, program, limit=120):
        return program.wait(self.count, quiet, limit, self.clock, self.sleep)


@pytest.mark.parametrize(
    ("connections", "quiet", "ended"),
    [
        ((), True, 30),
        ((5, 20), True, 50),
        (range(0, 200, 10), False, 120),
        ((25, 50, 75, 100), False, 120),
        ((25, 50, 75, 89), True, 119),
    ],
)
def test_quiet_is_a_time_without_a_new_connection_within_the_limit(quiet_program, connections, quiet, ended):
    time = Time(tuple(connections))
    found = time.wait(30, quiet_program)
    assert found.quiet is quiet
    assert time.now == pytest.approx(ended, abs=1)
    assert found.counted == len([each for each in connections if each <= ended])


def test_the_counter_is_that_of_the_rule_and_not_of_the_jump(quiet_program):
    assert quiet_program.packets(SAVED) == 7


def test_a_flushed_counter_is_no_silence(quiet_program):
    with pytest.raises(ValueError, match="not counted"):
        quiet_program.packets("*raw\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n")


def test_only_first_packets_from_elsewhere_to_this_host_count_and_none_is_stopped(quiet_program):
    text = quiet_program.counting(3128)
    [rule] = [line for line in text.splitlines() if line.startswith("-A ")]
    for part in ("! -i lo", "--dport 3128", "--syn", "--dst-type LOCAL"):
        assert part in rule
    assert " -j " not in rule


def test_all_of_it_goes_and_nothing_of_others(quiet_program):
    foreign = PLAIN.replace("COMMIT", "-A PREROUTING -p tcp -j NOTRACK\nCOMMIT")
    assert quiet_program.removal(foreign).splitlines() == [
        "*raw",
        "-D PREROUTING -j AWS-HA-PROXY-COUNT",
        "-F AWS-HA-PROXY-COUNT",
        "-X AWS-HA-PROXY-COUNT",
        "COMMIT",
    ]
    assert quiet_program.removal("*raw\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n") == ""


TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0C38 00000000:0000 0A 00000000:00000000 00:00000000 00000000    13        0 11 1 x
   1: 0A00000A:0C38 320A000A:C001 01 00000000:00000000 00:00000000 00000000    13        0 12 1 x
   2: 0100007F:0C38 0100007F:C002 01 00000000:00000000 00:00000000 00000000    13        0 13 1 x
   3: 0A00000A:0C38 320A000A:C003 06 00000000:00000000 00:00000000 00000000     0        0 0 1 x
   4: 0A00000A:C004 320A000A:0C38 01 00000000:00000000 00:00000000 00000000     0        0 14 1 x
"""


def test_open_connections_are_those_of_clients(quiet_program):
    assert quiet_program.established(TABLE, 3128) == 1


@pytest.mark.parametrize("arguments", [[], ["30"], ["30", "x"], ["1", "2", "3"]])
def test_bad_arguments_are_one_line(quiet_program, capsys, arguments):
    assert quiet_program.main(arguments) == 2
    assert capsys.readouterr().err.startswith("proxy_quiet.py: say how many seconds")


@pytest.mark.parametrize(
    ("connections", "code", "said"),
    [((), 0, "no new connection to port 3128 for 30 s"), (range(200), 1, "go on opening")],
)
def test_the_rules_go_at_the_end_whatever_it_was(quiet_program, monkeypatch, tmp_path, capsys, connections, code, said):
    """The kernel's side pretended: each command's rules are there between its restore and the removal."""
    time, there, done = Time(tuple(connections)), set(), []

    def run(argv, stdin=""):
        command = argv[0].rpartition("-")[0]
        if argv[0].endswith("-restore"):
            (there.discard if f"-X {quiet_program.CHAIN}" in stdin else there.add)(command)
            done.append((command, command in there))
        text = SAVED if "--counters" in argv else PLAIN
        return text.replace("[7:420]", f"[{time.count()}:0]") if command in there else "*raw\nCOMMIT\n"

    settings = tmp_path / "proxy.json"
    settings.write_text('{"port": 3128}', encoding="ascii")
    monkeypatch.setattr(quiet_program, "SETTINGS", str(settings))
    monkeypatch.setattr(quiet_program, "_run", run)
    real = quiet_program.wait
    monkeypatch.setattr(
        quiet_program, "wait", lambda count, quiet, limit: real(count, quiet, limit, time.clock, time.sleep)
    )
    assert quiet_program.main(["30", "60"]) == code
    output = capsys.readouterr()
    assert said in output.out + output.err
    assert there == set()
    assert done == [("iptables", True), ("ip6tables", True), ("iptables", False), ("ip6tables", False)]
