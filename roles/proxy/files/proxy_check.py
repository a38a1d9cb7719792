# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether an engine would run with a file, by the engine itself, before the file replaces a
good one. The check needs root.

Squid dies of a bad file at a reload, and Tinyproxy of a bad list. So every file passes here before
it is installed or reloaded.

    proxy_check.py squid FILE         squid -k parse, and no warning but the harmless ones
    proxy_check.py tinyproxy FILE     started with it, as its user, in its own network namespace
    proxy_check.py filter FILE        the same with a list of Tinyproxy

An address that the engine is to bind to must be one of this host, which no engine checks before it
serves.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import typing as t

PROGRAMS = {"squid": "/usr/sbin/squid", "tinyproxy": "/usr/bin/tinyproxy"}
USERS = {"squid": "proxy", "tinyproxy": "tinyproxy"}
LIMIT_S = 15.0
STEP_S, QUIET_STEPS = 0.1, 3  # Tinyproxy has done its start when it has slept so often in a row
# Deliberate: the header Via would tell servers of the proxy. A host without IPv6 is no fault of a
# file.
HARMLESS = ("WARNING: HTTP requires the use of Via", "WARNING: BCP 177 violation")
BAD = re.compile(r"\b(WARNING|ERROR|FATAL|BUG|SECURITY)\b|[Ee]mpty ACL|Bungled|unrecognized")
# Directives that name an address of this host, in lower case.
BINDING = {
    "squid": ("http_port", "https_port", "tcp_outgoing_address", "udp_incoming_address", "udp_outgoing_address"),
    "tinyproxy": ("listen", "bind"),
}
NOWHERE = "255.255.255.255"  # Squid's word for: as in udp_incoming_address
# In a network namespace of its own, where no address is: there an engine may listen on each.
ALONE = (
    "unshare",
    "--net",
    "--",
    "sh",
    "-c",
    'for each in 4 6; do echo 1 > /proc/sys/net/ipv$each/ip_nonlocal_bind; done 2> /dev/null; exec "$@"',
    "sh",
)
FILTER_CONFIG = 'Port 8888\nFilter "%s"\nFilterType ere\nFilterDefaultDeny Yes\n'


def complaints(output: str) -> list[str]:
    """The lines of ``squid -k parse`` that are more than a report of progress, without their time."""
    plain = (
        re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(\.\d+)?( kid\d+)?\| ", "", line).strip()
        for line in output.splitlines()
    )
    told = (line for line in plain if BAD.search(line) and not line.startswith("Processing:"))
    return [line for line in told if not line.startswith(HARMLESS)]


def squid(path: str) -> str:
    """Why Squid would not run with it; empty when it would."""
    user = pwd.getpwnam(USERS["squid"])
    argv = _as(user, [PROGRAMS["squid"], "-k", "parse", "-f", path])
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False)
    output = done.stdout.decode(errors="replace")
    found = complaints(output)
    return "; ".join(found[:3]) or (
        "" if done.returncode == 0 else f"exit code {done.returncode}: {output[-300:].strip()}"
    )


def tinyproxy(path: str) -> str:
    """Why Tinyproxy would not run with it; empty when it would.

    It has no option that only checks.
    """
    user = pwd.getpwnam(USERS["tinyproxy"])
    with tempfile.TemporaryFile() as output:
        argv = [*ALONE, *_as(user, [PROGRAMS["tinyproxy"], "-d", "-c", path])]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            alive = _settles(process)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = " ".join(output.read().decode(errors="replace").split())
    return "" if alive else said[-300:] or "it did not start"


def bound(engine: str, text: str) -> list[tuple[str, str]]:
    """The lines that name an address to bind to, each with the address."""
    found = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) > 1 and words[0].lower() in BINDING[engine]:
            place = words[1].strip('"')
            address = re.sub(r"^\[(.*)\](:\d+)?$", r"\1", place)
            address = address.rpartition(":")[0] if address.count(":") == 1 else address
            if _family(address) is not None and address != NOWHERE:
                found.append((" ".join(words), address))
    return found


def _family(address: str) -> int | None:
    """The family of an address; None for what is none, such as a port or a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address)
        except OSError:
            continue
        return family
    return None


def held(address: str) -> bool:
    """Whether a socket can be bound to an address here."""
    with socket.socket(_family(address) or socket.AF_INET) as one:
        try:
            one.bind((address, 0))
        except OSError:
            return False
    return True


def own_addresses() -> list[str]:
    """The addresses of this host, as far as they can be read."""
    argv = ["ip", "-oneline", "address", "show"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return re.findall(r" inet6? ([0-9a-f.:]+)", done.stdout)


def foreign(engine: str, text: str) -> str:
    """The first line that binds to an address that this host lacks, in words; empty without one."""
    for line, address in bound(engine, text):
        if not held(address):
            return "{}: this host has no address {}; it has {}".format(line, address, ", ".join(own_addresses()))
    return ""


def _as(user: t.Any, argv: t.Sequence[str]) -> list[str]:
    return ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", "--", *argv]


def _settles(process: t.Any) -> bool:
    """Whether it listens and sleeps: it loads its list after it has begun to listen."""
    quiet, end = 0, time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        time.sleep(STEP_S)
        if process.poll() is not None:
            return False
        folder = f"/proc/{process.pid}"
        quiet = (
            quiet + 1 if listening(_read(folder + "/net/tcp") + _read(folder + "/net/tcp6")) and _sleeps(folder) else 0
        )
        if quiet >= QUIET_STEPS:
            return True
    return False


def _sleeps(folder: str) -> bool:
    return _read(folder + "/stat").rpartition(")")[2].split()[:1] == ["S"]


def listening(table: str) -> dict[int, set[str]]:
    """Ports with a listener in a /proc/net/tcp, each with the inodes of its sockets."""
    found: dict[int, set[str]] = {}
    for line in table.splitlines():
        words = line.split()
        if len(words) > 9 and words[3] == "0A":
            found.setdefault(int(words[1].rpartition(":")[2], 16), set()).add(words[9])
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def check(what: str, path: str) -> str:
    """Why the engine would not run with the file; empty when it would.

    The engine's user reads a copy, since a draft is root's.
    """
    user = pwd.getpwnam(USERS["tinyproxy" if what == "filter" else what])
    folder = tempfile.mkdtemp(prefix="proxy-check-")
    try:
        os.chown(folder, user.pw_uid, user.pw_gid)
        copy = os.path.join(folder, "file")
        shutil.copyfile(path, copy)
        os.chmod(copy, 0o644)
        problem = "" if what == "filter" else foreign(what, _read(copy))
        if problem:
            return problem
        if what == "filter":
            config = os.path.join(folder, "config")
            with open(config, "w", encoding="utf-8") as stream:
                stream.write(FILTER_CONFIG % copy)
            os.chmod(config, 0o644)
            return tinyproxy(config)
        return squid(copy) if what == "squid" else tinyproxy(copy)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: t.Sequence[str]) -> int:
    """Exit code 0, 1 (the engine would not run with it) or 2 (it could not be asked)."""
    if len(arguments) != 2 or arguments[0] not in ("squid", "tinyproxy", "filter"):
        print("proxy_check.py: say squid, tinyproxy or filter, and a file", file=sys.stderr)
        return 2
    try:
        problem = check(*arguments)
    except KeyError:
        print(f"proxy_check.py: the package of {arguments[0]} is not installed", file=sys.stderr)
        return 2
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"proxy_check.py: {error}", file=sys.stderr)
        return 2
    if problem:
        print(f"{arguments[0]} would not run with it: {problem}", file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
