# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to this collection: functions that its modules share.

The engine in ``nat_failover/`` knows nothing of Ansible, and these functions do.
"""

from __future__ import annotations

import os
import threading
import typing as t

from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.errors import NatFailoverError

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
TIMED_OUT = 124  # as timeout(1) says it
NOT_STARTED = 127
# ssh sessions of some distributions have no sbin on PATH; iptables lives there.
FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def runner(module: t.Any) -> t.Callable[..., tuple[int, str, str]]:
    """``module.run_command`` as a runner of the engine (docs/architecture.md).

    It takes a time limit in seconds and raises nothing: a missing or late command is an exit code.
    """

    def run(argv: t.Sequence[str], *, timeout: float, stdin: str = "") -> tuple[int, str, str]:
        path = os.pathsep.join((os.environ.get("PATH") or os.defpath, *FOLDERS))
        expired = threading.Event()
        timers: list[threading.Timer] = []

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
            return NOT_STARTED, "", f"{argv[0]}: {error.strerror or error}"
        finally:
            for timer in timers:
                timer.cancel()
        return (TIMED_OUT, out, f"no end within {timeout} s") if expired.is_set() else (code, out, err)

    return run


def answer(module: t.Any, work: t.Callable[[], dict[str, t.Any]]) -> None:
    """Leave the module with what ``work`` returns, or with the one line of its error."""
    # A NAT node is the way out itself: modules call neither EC2 nor IMDS through a proxy, like the
    # service.
    for name in [name for name in os.environ if name.lower() in PROXIES]:
        del os.environ[name]
    try:
        result = work()
    except NatFailoverError as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(**result)
