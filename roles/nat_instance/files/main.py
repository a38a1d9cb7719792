# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command nat-failover: gives the engine, which spawns nothing itself, a way to run commands.

The role adds the interpreter line.
"""

from __future__ import annotations

import os
import subprocess
import sys

LIBRARY = "/usr/local/lib/nat-failover"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
TIMED_OUT = 124  # as timeout(1) says it
NOT_STARTED = 127
# The processes beside the service. They load a part of the engine.
BESIDE = ("web", "cloudwatch", "hooks")


def run(argv, *, timeout, stdin=""):
    """(code, stdout, stderr) of a command; never raises."""
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return TIMED_OUT, "", f"no end within {timeout} s"
    except OSError as error:
        return NOT_STARTED, "", f"{argv[0]}: {error.strerror or error}"
    return done.returncode, done.stdout, done.stderr


def go_direct(environ):
    """Take proxies out of an environment: this node is the way out, and IMDS must never be asked
    through one.
    """
    for name in [name for name in environ if name.lower() in PROXIES]:
        del environ[name]


def main():
    """Run the command with the engine that is installed beside, or that PYTHONPATH names (in
    tests).
    """
    # Operators' shells and cron have no sbin on PATH; iptables lives there.
    go_direct(os.environ)
    os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH") or os.defpath, "/usr/sbin", "/sbin"))
    sys.path.append(LIBRARY)
    try:
        if sys.argv[1:2] and sys.argv[1] in BESIDE:
            sys.modules["ssl"] = None  # they speak no TLS, and asyncio goes without it: 4 MiB less
            from nat_failover.console.beside import main as command
        else:
            from nat_failover.cli import main as command
    except ImportError as error:
        sys.stderr.write(f"nat-failover: the engine in {LIBRARY} is incomplete ({error}); run the role again\n")
        return 1
    return command(sys.argv[1:], run)


if __name__ == "__main__":
    raise SystemExit(main())
