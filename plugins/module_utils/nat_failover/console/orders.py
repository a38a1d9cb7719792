# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The orders of an operator to the service of this node. Each records who gave it, and why."""

from __future__ import annotations

import argparse
import os
import sys
import typing as t

from ..config import load as configuration
from ..errors import NatFailoverError, UsageError
from ..model.text import plain
from ..policy import pause as pauses
from ..service import sender
from .ask import NO_SERVICE, ask, require_peer, require_table

Runner = t.Callable[..., tuple[int, str, str]]  # (argv, *, timeout, stdin) -> (exit code, stdout, stderr)
LONGEST_REASON = 120  # characters; a tag of EC2 has room for 256
REASON = "requested by the operator"


def add_reason(command: argparse.ArgumentParser) -> None:
    """The flag that all orders have."""
    command.add_argument("--reason", default=REASON, metavar="TEXT", help="why; for history and tag")


def actor(environ: t.Mapping[str, str] | None = None) -> str:
    """The user who gave the order: the one behind sudo, else the user id of this process.

    It is a hint for colleagues and no proof: root can set both.
    """
    found = os.environ if environ is None else environ
    name = found.get("SUDO_USER", "")
    return plain(name)[:32] if name else f"uid {os.getuid()}"


def reason(arguments: argparse.Namespace) -> str:
    """The reason of an order. Raises ``UsageError`` for one that is empty or too long."""
    text = plain(arguments.reason).strip()
    if not 0 < len(text) <= LONGEST_REASON:
        raise UsageError(f"--reason: {len(text)} characters; write 1 to {LONGEST_REASON}")
    return text


def drain(arguments: argparse.Namespace) -> int:
    """Hand over all claims before maintenance."""
    _check_wait(arguments.wait)
    return order(arguments, {"do": "drain", "wait": arguments.wait}, arguments.wait + 10)


def switchover(arguments: argparse.Namespace) -> int:
    """A drain that must go to one peer."""
    _check_wait(arguments.wait)
    require_peer(ask(arguments, {"do": "status"}), arguments.to)
    return order(arguments, {"do": "switchover", "to": arguments.to, "wait": arguments.wait}, arguments.wait + 10)


def _check_wait(seconds: float) -> None:
    """Refuse a wait that is no length of time."""
    if not 0 <= seconds <= sender.LONGEST_WAIT:
        raise UsageError(f"--wait: {seconds:g} is no number of seconds up to {sender.LONGEST_WAIT}; write e.g. 60")


def resume(arguments: argparse.Namespace) -> int:
    """End a drain."""
    return order(arguments, {"do": "resume"}, 30)


def give_back(arguments: argparse.Namespace) -> int:
    """Take home claims back now."""
    if arguments.table:
        require_table(ask(arguments, {"do": "status"}), arguments.table)
    return order(arguments, {"do": "return", "table": arguments.table}, 60)


def adopt(arguments: argparse.Namespace) -> int:
    """Point a table whose routes target a stranger to this node."""
    require_table(ask(arguments, {"do": "status"}), arguments.table)
    return order(arguments, {"do": "adopt", "table": arguments.table, "sure": arguments.yes}, 60)


def fence(arguments: argparse.Namespace) -> int:
    """Stop and start a peer that is not well, after a confirmation."""
    name = arguments.peer
    reason(arguments)  # refuse a bad one before anything is asked
    status = ask(arguments, {"do": "status"})
    require_peer(status, name)
    typed = "" if arguments.yes else _typed(next(row for row in status["verdicts"] if row["peer"] == name))
    return order(arguments, {"do": "fence", "peer": name, "sure": arguments.yes, "typed": typed}, 90)


def _typed(row: t.Mapping[str, t.Any]) -> str:
    """The name that the operator types to confirm a fence, by one line of standard input."""
    text = f"{row['peer']} is {row['verdict']}: {row['evidence']}. A fence stops and starts it; its connections end."
    sys.stderr.write(plain(f"{text} Type its name to go on: "))
    sys.stderr.flush()
    return sys.stdin.readline(100).strip()


def pause(arguments: argparse.Namespace) -> int:
    """Let no node write anything for a time."""
    try:
        pauses.seconds(arguments.length)  # refuse a bad length before anything is changed
    except NatFailoverError as error:
        raise UsageError(str(error)) from None
    return order(arguments, {"do": "pause", "for": arguments.length}, 30)


def unpause(arguments: argparse.Namespace) -> int:
    """End a pause."""
    return order(arguments, {"do": "unpause"}, 60)


def leave(arguments: argparse.Namespace, runner: Runner) -> int:
    """Hand over in a shutdown only: a stop of this unit alone moves no route."""
    _code, state, _errors = runner(["systemctl", "is-system-running"], timeout=5)
    if state.strip() != "stopping":
        sys.stdout.write("this machine does not shut down: nothing is handed over\n")
        return 0
    config = configuration.load(arguments.config)
    answer = sender.send_request(config.runtime_directory, {"do": "leave"}, config.handover.wait + 5)
    sys.stdout.write(f"{answer['state'] if answer else 'the service does not run here: nothing is handed over'}\n")
    return 0


def order(arguments: argparse.Namespace, request: t.Mapping[str, t.Any], timeout: float) -> int:
    """Send an order with its reason and its actor, and print the new state."""
    whole = {**request, "reason": reason(arguments), "actor": actor()}
    answer = sender.send_request(configuration.load(arguments.config).runtime_directory, whole, timeout)
    if answer is None:
        raise NatFailoverError(NO_SERVICE)
    sys.stdout.write(f"{plain(answer['state'])}{'' if answer['changed'] else ' already'}\n")
    return 0
