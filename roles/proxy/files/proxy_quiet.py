# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until clients open no new connection to the proxy of this node, before maintenance. Needs
root.

A drained node is unhealthy to a load balancer, which still sends new connections for a while: AWS's
for 30 to 40 s and longer. So the kernel counts them here, whatever way they come. The rules that
count let all packets pass, and go at the end.

    proxy_quiet.py QUIET_S LIMIT_S    exit 0 after QUIET_S without a new connection, 1 after LIMIT_S
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import typing as t

SETTINGS = "/etc/aws-ha-egress/proxy.json"
COMMANDS = ("iptables", "ip6tables")
CHAIN = "AWS-HA-PROXY-COUNT"
ESTABLISHED = "01"  # in /proc/net/tcp
STEP_S, LIMIT_S = 0.5, 10.0


class Outcome(t.NamedTuple):
    """``quiet``: no new connection for long enough; ``counted`` came before."""

    quiet: bool
    counted: int


def counting(port: int) -> str:
    """The input of iptables-restore --noflush that counts new connections of others to the port.

    In the table raw, which no rule of a firewall precedes. The health check comes by lo.
    """
    rule = f"-A {CHAIN} ! -i lo -p tcp -m tcp --dport {port} --syn -m addrtype --dst-type LOCAL"
    return "\n".join(("*raw", f":{CHAIN} - [0:0]", rule, f"-I PREROUTING 1 -j {CHAIN}", "COMMIT", ""))


def removal(saved: str) -> str:
    """The input that takes all of it away; empty when there is nothing."""
    lines = [line.strip() for line in saved.splitlines()]
    jumps = [f"-D PREROUTING -j {CHAIN}" for line in lines if line == f"-A PREROUTING -j {CHAIN}"]
    chain = [f"-F {CHAIN}", f"-X {CHAIN}"] if any(line.startswith(f":{CHAIN} ") for line in lines) else []
    return "\n".join(("*raw", *jumps, *chain, "COMMIT", "")) if chain else ""


def packets(saved: str) -> int:
    """The connections counted so far, by iptables-save --counters. Raises ``ValueError`` without
    the rule: then nothing counts.
    """
    for line in saved.splitlines():
        counters, _end, rule = line.partition("] ")
        if rule.startswith(f"-A {CHAIN} "):
            return int(counters.lstrip("[").partition(":")[0])
    raise ValueError(f"{CHAIN} is gone, so new connections are not counted")


def established(table: str, port: int) -> int:
    """Connections to the port that are open, in a /proc/net/tcp, those of the node itself left out."""
    rows = [line.split() for line in table.splitlines()]
    own = (f":{port:04X}", ESTABLISHED)
    found = [row for row in rows if len(row) > 9 and row[1].endswith(own[0]) and row[3] == own[1]]
    # A connection of the node to itself has one address at both ends.
    return len([row for row in found if row[1].partition(":")[0] != row[2].partition(":")[0]])


def wait(
    count: t.Callable[[], int],
    quiet_s: float,
    limit_s: float,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> Outcome:
    """Until the count has stood still for ``quiet_s``, at most for ``limit_s``."""
    begun = changed = clock()
    last = count()
    while True:
        now = clock()
        if now - changed >= quiet_s:
            return Outcome(True, last)
        if now - begun >= limit_s:
            return Outcome(False, last)
        sleep(STEP_S)
        counted = count()
        if counted != last:
            last, changed = counted, clock()


def _run(argv: t.Sequence[str], stdin: str = "") -> str:
    """The output of a command. Raises ``OSError`` when it failed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise OSError("{}: {}".format(argv[0], " ".join(done.stderr.split())[:200]))
    return done.stdout


def _families() -> list[str]:
    """The commands of the families that this kernel has."""
    found = []
    for command in COMMANDS:
        try:
            _run([command + "-save", "-t", "raw"])
            found.append(command)
        except OSError:
            if command == COMMANDS[0]:
                raise
    return found


def _away(commands: t.Iterable[str]) -> None:
    for command in commands:
        text = removal(_run([command + "-save", "-t", "raw"]))
        if text:
            _run([command + "-restore", "--noflush", "--wait", "5"], text)


def _open(port: int) -> int:
    found = 0
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(name, encoding="ascii") as stream:
                found += established(stream.read(), port)
        except OSError:
            continue  # a kernel without IPv6
    return found


def main(arguments: t.Sequence[str]) -> int:
    """Exit code 0, 1 (not quiet) or 2 (it could not be counted); one line tells which."""
    try:
        quiet_s, limit_s = (float(each) for each in arguments)
    except ValueError:
        print("proxy_quiet.py: say how many seconds without a new connection, and how many at most", file=sys.stderr)
        return 2
    try:
        with open(SETTINGS, encoding="utf-8") as stream:
            port = json.load(stream)["port"]
        commands = _families()
        _away(commands)  # of a run that was killed
        try:
            for command in commands:
                _run([command + "-restore", "--noflush", "--wait", "5"], counting(port))
            saved = [[command + "-save", "--counters", "-t", "raw"] for command in commands]
            found = wait(lambda: sum(packets(_run(argv)) for argv in saved), quiet_s, limit_s)
        finally:
            _away(commands)
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        print(f"proxy quiet: new connections cannot be counted: {error}", file=sys.stderr)
        return 2
    if not found.quiet:
        print(f"clients go on opening connections to port {port}: {found.counted} in {limit_s:.0f} s", file=sys.stderr)
        return 1
    print(f"no new connection to port {port} for {quiet_s:.0f} s; {_open(port)} are open")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
