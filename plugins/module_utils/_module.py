# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to this collection: what its modules share. The engine in ``nat_failover/`` knows nothing of Ansible; this does."""

from __future__ import annotations

import os
import threading
import typing as t

from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.errors import NatFailoverError

TIMED_OUT = 124  # as timeout(1) says it
NOT_STARTED = 127
# ssh sessions of some distributions have no sbin on PATH; iptables lives there.
FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def runner(module: t.Any) -> t.Callable[..., t.Tuple[int, str, str]]:
    """``module.run_command`` in the form that the engine wants (docs/architecture.md): with a time limit, and never raising."""

    def run(argv: t.Sequence[str], *, timeout: float, stdin: str = "") -> t.Tuple[int, str, str]:
        path = os.pathsep.join((os.environ.get("PATH") or os.defpath, *FOLDERS))
        expired = threading.Event()
        timers: t.List[threading.Timer] = []

        def arm(process: t.Any) -> None:
            def expire() -> None:
                expired.set()
                process.kill()

            timers.append(threading.Timer(timeout, expire))
            timers[0].daemon = True
            timers[0].start()

        try:
            code, out, err = module.run_command(
                list(argv),
                data=stdin or None,
                binary_data=True,  # as it is, without a line feed at its end
                environ_update={"PATH": path, "LC_ALL": "C"},
                before_communicate_callback=arm,
                expand_user_and_vars=False,
                handle_exceptions=False,
            )
        except OSError as error:
            return NOT_STARTED, "", "%s: %s" % (argv[0], error.strerror or error)
        finally:
            for timer in timers:
                timer.cancel()
        return (TIMED_OUT, out, "no end within %s s" % timeout) if expired.is_set() else (code, out, err)

    return run


def answer(module: t.Any, work: t.Callable[[], t.Dict[str, t.Any]]) -> None:
    """Leave the module with what ``work`` returns, or with the one line of its error."""
    try:
        result = work()
    except NatFailoverError as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(**result)
