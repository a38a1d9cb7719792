# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command nat-failover: gives the engine, which spawns nothing itself, a way to run commands. The role adds the interpreter line."""

from __future__ import annotations

import os
import subprocess
import sys

LIBRARY = "/usr/local/lib/nat-failover"
TIMED_OUT = 124  # as timeout(1) says it
NOT_STARTED = 127


def run(argv, *, timeout, stdin=""):
    """(code, stdout, stderr) of a command; never raises."""
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return TIMED_OUT, "", "no end within %s s" % timeout
    except OSError as error:
        return NOT_STARTED, "", "%s: %s" % (argv[0], error.strerror or error)
    return done.returncode, done.stdout, done.stderr


def main():
    """Run the command with the engine that is installed beside, or that PYTHONPATH names (in tests)."""
    # Operators' shells and cron have no sbin on PATH; iptables lives there.
    os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH") or os.defpath, "/usr/sbin", "/sbin"))
    sys.path.append(LIBRARY)
    try:
        from nat_failover.cli import main as command
    except ImportError as error:
        sys.stderr.write("nat-failover: the engine in %s is incomplete (%s); run the role again\n" % (LIBRARY, error))
        return 1
    return command(sys.argv[1:], run)


if __name__ == "__main__":
    raise SystemExit(main())
