# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reload that no client notices: systemd's ExecReload of the proxy. Needs root.

The file is checked first, since the engine would die of a bad one. Squid closes its port for some
hundred milliseconds and a client would be refused; meanwhile the kernel drops the first packet of
new connections, and clients repeat it after a second. The rule that does so ends by itself, too.

    proxy_reload.py reload     check and reload, with MAINPID in the environment
    proxy_reload.py release    take the rule away, whatever has happened to a reload
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t

SETTINGS = "/etc/aws-ha-egress/proxy.json"
CHECK = "/usr/local/lib/aws-ha-egress/proxy_check.py"
FILTER = "/etc/aws-ha-egress/proxy-filter"
COMMANDS = ("iptables", "ip6tables")
CHAIN = "AWS-HA-PROXY-RELOAD"
HOLD_S, STEP_S = 3.0, 0.02
# The kernel's own end of the rule, for a reload that is killed in the middle.
ENDS_S = 6
LIMIT_S = 10.0


def hold(port: int, now: float) -> str:
    """The input of iptables-restore --noflush that drops new connections to the port until the time
    is over.
    """
    ends = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now + ENDS_S))
    rule = f"-A {CHAIN} -p tcp --dport {port} --syn -m time --datestop {ends} -j DROP"
    return "\n".join(("*filter", f":{CHAIN} - [0:0]", rule, f"-I INPUT 1 -j {CHAIN}", "COMMIT", ""))


def release(saved: str) -> str:
    """The input that takes all of it away; empty when there is nothing."""
    lines = [line.strip() for line in saved.splitlines()]
    jumps = [f"-D INPUT -j {CHAIN}" for line in lines if line == f"-A INPUT -j {CHAIN}"]
    chain = [f"-F {CHAIN}", f"-X {CHAIN}"] if any(line.startswith(f":{CHAIN} ") for line in lines) else []
    return "\n".join(("*filter", *jumps, *chain, "COMMIT", "")) if chain else ""


def sockets(port: int) -> set[str]:
    """The inodes of the sockets that listen on the port."""
    found: set[str] = set()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(name, encoding="ascii") as stream:
                rows = [line.split() for line in stream]
        except OSError:
            continue
        wanted = f":{port:04X}"
        found |= {row[9] for row in rows if len(row) > 9 and row[3] == "0A" and row[1].endswith(wanted)}
    return found


def let_go() -> None:
    """Take the rule away in both families."""
    for command in COMMANDS:
        saved = _run([command + "-save", "-t", "filter"])
        text = release(saved or "")
        if text:
            _run([command + "-restore", "--noflush", "--wait", "5"], text)


def _run(argv: t.Sequence[str], stdin: str = "") -> str | None:
    """The output of a command; None, with a line for the journal, when it failed: a reload goes on
    without a hold.
    """
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"proxy reload: {argv[0]}: {error}")
        return None
    if done.returncode:
        print("proxy reload: {}: {}".format(argv[0], " ".join(done.stderr.split())[:200]))
        return None
    return done.stdout


def checked(settings: t.Mapping[str, t.Any]) -> bool:
    """Whether the engine would run with what is on the disk."""
    files = [(settings["engine"], settings["config"])]
    if settings["engine"] == "tinyproxy" and os.path.exists(FILTER):
        files.append(("filter", FILTER))
    return all(subprocess.run([sys.executable, "-I", CHECK, *each], check=False).returncode == 0 for each in files)


def reload_squid(pid: int, port: int) -> float:
    """Seconds until the port listens again; it is held as long."""
    before = sockets(port)
    begun = time.monotonic()
    try:
        for command in COMMANDS:
            _run([command + "-restore", "--noflush", "--wait", "5"], hold(port, time.time()))
        begun = time.monotonic()
        os.kill(pid, signal.SIGHUP)
        while time.monotonic() - begun < HOLD_S:
            now = sockets(port)
            if now and not now & before:
                break
            time.sleep(STEP_S)
        return time.monotonic() - begun
    finally:
        let_go()


def main(arguments: t.Sequence[str]) -> int:
    """Exit code 0 or 1; a refused reload leaves the running engine as it is."""
    if list(arguments) == ["release"]:
        let_go()
        return 0
    if list(arguments) != ["reload"] or not os.environ.get("MAINPID", "").isdigit():
        print("proxy_reload.py: say reload or release; reload is for systemd, which sets MAINPID", file=sys.stderr)
        return 1
    # Also when systemd ends this: the rule must go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with open(SETTINGS, encoding="utf-8") as stream:
        settings = json.load(stream)
    if not checked(settings):
        print("proxy reload: refused, the engine goes on with what it has", file=sys.stderr)
        return 1
    pid = int(os.environ["MAINPID"])
    if settings["engine"] == "squid":
        print(
            f"proxy reload: port {settings['port']} listened again after {1000 * reload_squid(pid, settings['port']):.0f} ms"
        )
    else:
        os.kill(pid, signal.SIGUSR1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
