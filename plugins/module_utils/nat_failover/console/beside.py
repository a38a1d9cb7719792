# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes beside the service, which systemd starts."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import typing as t

from ..errors import ConfigError
from ..hooks import settings as hook_settings
from ..host import systemd
from ..web import emf, settings
from .entry import Parser, guarded

Runner = t.Callable[..., tuple[int, str, str]]  # (argv, *, timeout, stdin) -> (exit code, stdout, stderr)
READERS = "/run/nat-failover/status.sock"


def add_all(add: t.Callable[..., argparse.ArgumentParser]) -> None:
    """The commands of these processes. ``add``: (name, function, help) to the command's parser."""
    add_web(add("web", lambda arguments, _runner: web(arguments), "serve metrics and health (systemd does this)"))
    told = add("cloudwatch", lambda arguments, _runner: cloudwatch(arguments), "write metrics (systemd does this)")
    add_cloudwatch(told)
    add_hooks(add("hooks", hooks, "run an operator's programs on events of the service (systemd does this)"))


def main(argv: t.Sequence[str], runner: Runner) -> int:
    """Run one of these processes without loading the other commands. Returns the exit code."""
    parser = Parser(prog="nat-failover", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    def add(name: str, function: t.Callable[[argparse.Namespace, Runner], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(function=function)
        return command

    def call() -> int:
        add_all(add)
        arguments = parser.parse_args(argv)
        return t.cast(int, arguments.function(arguments, runner))

    return guarded(call)


def add_web(command: argparse.ArgumentParser) -> None:
    """The flags of ``web``."""
    command.add_argument("--cluster", required=True, help="the cluster, a label of all metrics")
    command.add_argument("--node", required=True, help="this node, a label of all metrics")
    command.add_argument("--listen", default=settings.LISTEN, metavar="ADDRESS", help="(default: %(default)s)")
    command.add_argument("--port", type=int, default=settings.PORT, help="TCP port (default: %(default)s)")
    command.add_argument("--allow", action="append", default=[], metavar="NETWORK", help="a network that may read")
    command.add_argument("--name", action="append", default=[], metavar="HOST", help="a host name in URLs of readers")
    command.add_argument("--socket", default=READERS, help="the service's socket for readers (default: %(default)s)")


def web(arguments: argparse.Namespace) -> int:
    """Serve metrics and health until SIGTERM. Raises ``ConfigError`` for a flag that does not fit."""
    from ..web import process  # pylint: disable=import-outside-toplevel  # only this command needs it

    given = arguments
    checked = settings.parse(given.listen, given.port, given.allow, given.name, prefix="--")
    page = process.Web(checked, given.socket, given.cluster, given.node)
    asyncio.run(process.serve(page, checked, systemd.sd_notify))
    return 0


def add_cloudwatch(command: argparse.ArgumentParser) -> None:
    """The flags of ``cloudwatch``."""
    command.add_argument("--cluster", required=True, help="the cluster, a dimension of all metrics")
    command.add_argument("--node", required=True, help="this node, a dimension of all metrics")
    command.add_argument("--file", default="", metavar="PATH", help="the file of the lines (default: standard output)")
    command.add_argument(
        "--interval", type=int, default=emf.INTERVAL, metavar="S", help="seconds (default: %(default)s)"
    )
    command.add_argument("--socket", default=READERS, help="the service's socket for readers (default: %(default)s)")


def cloudwatch(arguments: argparse.Namespace) -> int:
    """Write metrics until SIGTERM. Raises ``ConfigError`` for a flag that does not fit."""
    from ..web import cloudwatch as process  # pylint: disable=import-outside-toplevel  # only this command needs it

    given = arguments
    emf.parse(interval_s=given.interval, prefix="--")
    write = process.to_file(given.file) if given.file else _say
    told = process.CloudWatch(given.socket, given.cluster, given.node, write, process.connections)
    asyncio.run(process.serve(told, given.interval, systemd.sd_notify))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def add_hooks(command: argparse.ArgumentParser) -> None:
    """The flags of ``hooks``."""
    command.add_argument("--hook", action="append", required=True, metavar="JSON", help="name, run, events, timeout_s")
    command.add_argument("--socket", default=READERS, help="the service's socket for readers (default: %(default)s)")


def hooks(arguments: argparse.Namespace, runner: Runner) -> int:
    """Run hooks until SIGTERM. Raises ``ConfigError`` for a hook that does not fit."""
    from ..hooks import process  # pylint: disable=import-outside-toplevel  # only this command needs it

    try:
        given = [json.loads(each) for each in arguments.hook]
    except ValueError as error:
        raise ConfigError("--hook", None, f"is no JSON ({error})", "run the role again") from None
    checked = hook_settings.parse_all(given, "--hook")
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # stderr is the journal
    asyncio.run(process.serve(checked, arguments.socket, runner, systemd.sd_notify))
    return 0
