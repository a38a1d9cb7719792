# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``nat-failover``.

Exit codes: 0 success, 1 refused or a check found a difference, 64 bad input, 77 not permitted.
``status`` and ``doctor`` return the level of the worst problem: 0 well, 1 degraded, 2 critical,
3 unknown. An error is one line on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import typing as t

from . import __version__
from .config import load as configuration
from .console import beside, completion, explain, history, orders, show
from .console.entry import Parser, guarded
from .console.words import unknown
from .errors import NatFailoverError, UsageError
from .host import address_map, flowtable, kernel, netfilter, queues, systemd
from .service.history import last_seq
from .service.journal import start_logging

Runner = t.Callable[..., tuple[int, str, str]]  # (argv, *, timeout, stdin) -> (exit code, stdout, stderr)
DEFAULT_CONFIG = "/etc/nat-failover/config.json"


def main(argv: t.Sequence[str], runner: Runner) -> int:
    """Run one command and return its exit code. ``NatFailoverError`` becomes one line on stderr."""

    def call() -> int:
        arguments = parse(argv)
        return t.cast(int, arguments.function(arguments, runner))

    return guarded(call)


# --- the words of the command line ----------------------------------------------------------------


def parse(argv: t.Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line.

    Raises ``UsageError`` for a word or a flag that is unknown, with the nearest known one.
    """
    top, commands = build()
    verb = _verb(argv)
    if verb and verb not in commands:
        raise unknown("command", verb, commands)
    arguments, left = top.parse_known_args(argv)
    if left:
        if not left[0].startswith("-"):
            raise UsageError(f"{verb} takes no word {left[0]!r}; try `nat-failover {verb} --help`")
        # The only list of a parser's flags
        raise unknown("flag", left[0].partition("=")[0], commands[verb]._option_string_actions)
    return arguments


def _verb(argv: t.Sequence[str]) -> str:
    """The first word that is no flag and not the value of ``--config``. Empty if there is none."""
    words = iter(argv)
    for word in words:
        if word == "--config":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def build() -> tuple[Parser, dict[str, argparse.ArgumentParser]]:
    """The parser of the command line, and that of each command by its name."""
    parser = Parser(prog="nat-failover", description="Highly available egress with NAT instances.", allow_abbrev=False)
    parser.add_argument("--config", default=DEFAULT_CONFIG, help="configuration file (default: %(default)s)")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    commands: dict[str, argparse.ArgumentParser] = {}

    def add(name: str, function: t.Callable[[argparse.Namespace, Runner], int], text: str) -> argparse.ArgumentParser:
        command = commands[name] = subparsers.add_parser(name, help=text, description=text, allow_abbrev=False)
        # Operators also write --config after the command. Without it there, the one before counts.
        command.add_argument("--config", default=argparse.SUPPRESS, help="configuration file")
        command.set_defaults(function=function)
        return command

    def order(name: str, function: t.Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = add(name, lambda arguments, _runner: function(arguments), text)
        orders.add_reason(command)
        return command

    _add_questions(add)
    _add_orders(add, order)
    _add_parts(add)
    return parser, commands


Add = t.Callable[[str, t.Callable[[argparse.Namespace, Runner], int], str], argparse.ArgumentParser]
Order = t.Callable[[str, t.Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def _add_questions(add: Add) -> None:
    """The commands that change nothing."""
    status = add("status", lambda arguments, _runner: show.show(arguments), "show problems, nodes and routes")
    status.add_argument("--json", action="store_true", help="print the whole status as JSON (schema 1)")
    status.add_argument("--brief", action="store_true", help="print one line")
    status.add_argument("--all", action="store_true", help="also print facts, counters and evidence")
    status.add_argument("--watch", type=_seconds, nargs="?", const=2.0, metavar="S", help="print it every S seconds")
    status.add_argument("--wait", type=_seconds, metavar="S", help="wait up to S seconds until all is well")
    why = add("explain", lambda arguments, _runner: explain.show(arguments), "say why, and what comes next")
    why.add_argument("subject", nargs="?", default="", metavar="PEER|TABLE", help="a peer or a route table")
    why.add_argument("--json", action="store_true", help="print it as JSON (schema 1)")
    ill = add("doctor", _doctor, "check this node, the peers and AWS, a line each")
    ill.add_argument("--offline", action="store_true", help="ask neither EC2 nor IMDS")
    ill.add_argument("--json", action="store_true", help="print it as JSON (schema 1)")
    kept = add("support", _support, "write what a colleague needs into one file")
    kept.add_argument("--output", default="", metavar="PATH", help="a new file (default: in the present folder)")
    past = add("history", lambda arguments, _runner: history.show(arguments), "show what happened before")
    past.add_argument("--since", default="", metavar="TIME", help="e.g. 2h, 3d, 2026-11-28 or 2026-11-28T23:40:00Z")
    past.add_argument("--incident", default="", metavar="ID", help="one incident with all its events; last: the latest")
    past.add_argument("--all", action="store_true", help="also late heartbeats that ended well, and single events")
    past.add_argument("--follow", action="store_true", help="print each event when it happens, until interrupted")
    past.add_argument("--format", choices=history.FORMATS, default="pretty", help="default: %(default)s")
    past.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    check = add("check-config", _check_config, "validate a configuration file")
    check.add_argument(
        "--online", action="store_true", help="also check instances, route tables and permissions in EC2 (dry runs)"
    )
    check.add_argument(
        "--key-file", default="", metavar="PATH", help="check these heartbeat keys instead of those that it names"
    )
    complete = add("completion", _completion, "print the completion of a shell")
    complete.add_argument("shell", choices=completion.SHELLS)
    add("version", _version, "print the version")


def _add_orders(add: Add, order: Order) -> None:
    """The commands that a running service carries out."""
    drain = order("drain", orders.drain, "hand over all claims before maintenance, until `resume`, also over a reboot")
    drain.add_argument(
        "--wait", type=float, default=60.0, metavar="S", help="seconds to wait for the peers (default: %(default)s)"
    )
    over = order("switchover", orders.switchover, "drain, if one peer takes all claims of this node")
    over.add_argument("--to", required=True, metavar="PEER", help="the peer")
    over.add_argument("--wait", type=float, default=60.0, metavar="S", help="seconds (default: %(default)s)")
    order("resume", orders.resume, "end a drain: this node may own claims again")
    back = order("return", orders.give_back, "take the routes of this node back now, without the waiting time")
    back.add_argument("table", nargs="?", default="", metavar="TABLE", help="a route table; all if left out")
    adopting = order("adopt", orders.adopt, "take the routes of a table that target a stranger")
    adopting.add_argument("table", metavar="TABLE", help="a route table of this node")
    adopting.add_argument("--yes", action="store_true", help="do it; without it the targets are named only")
    fencing = add("fence", lambda arguments, _runner: orders.fence(arguments), "stop and start a peer that is not well")
    fencing.add_argument("peer", metavar="PEER", help="the peer; an objection of the policy refuses the order")
    fencing.add_argument("--reason", required=True, metavar="TEXT", help="why; for journal and history")
    fencing.add_argument("--yes", action="store_true", help="do not ask for the name; for a failed peer only")
    pausing = order("pause", orders.pause, "let no node of the cluster write anything for a time")
    pausing.add_argument(
        "--for", dest="length", default="1h", metavar="TIME", help="e.g. 30m or 2h (default: %(default)s)"
    )
    order("unpause", orders.unpause, "end a pause before its time")
    add("leave", orders.leave, "hand over all claims if this machine shuts down (systemd does this)")


def _add_parts(add: Add) -> None:
    """The commands that systemd and the role use."""
    add("run", _run, "run the service in the foreground (systemd does this)")
    rules = add("rules", _rules, "the iptables rules that this node owns")
    rules.add_argument("what", choices=("apply", "check", "remove"))
    canary = add("canary", _canary, "run the client whose packets prove that this node NATs (systemd does this)")
    canary.add_argument("--user", default="", help="the user to run as, once the network namespace exists")
    add("repair", _repair, "repair rules or sysctls, as standard input names them (systemd does this)")
    beside.add_all(add)


def _seconds(text: str) -> float:
    """A positive number of seconds. Raises ``ValueError``, which argparse reports."""
    value = float(text)
    if not 0 < value <= 86400:
        raise ValueError(text)
    return value


_seconds.__name__ = "number of seconds"  # argparse names it in its error


# --- the parts of a node --------------------------------------------------------------------------


def _run(arguments: argparse.Namespace, runner: Runner) -> int:
    # pylint: disable=import-outside-toplevel  # boto3 is heavy, and only this command needs it
    from .service.outside import connect
    from .service.service import Service

    config, keys, digest = configuration.load_all(arguments.config)
    configuration.check_interface(config)
    log = start_logging(config.state_directory, {"NAT_CLUSTER": config.cluster, "NAT_NODE": config.self_name})

    async def life() -> None:
        # Before Python 3.10 an asyncio.Event belongs to the loop in which it is made. So the
        # service is made here.
        service = Service(config, keys, connect(config, runner), arguments.config)
        service.parts.settings.digest = digest
        events = service.parts.events
        events.seq, events.lost, events.unwritten = last_seq(config.state_directory), log.lost, log.unwritten
        gc.freeze()  # the objects of now live as long as the process: the garbage collector skips them
        await service.run()

    try:
        asyncio.run(life())
    finally:
        log.stop()
    return 0


def _check_config(arguments: argparse.Namespace, runner: Runner) -> int:
    config = configuration.load_all(arguments.config, arguments.key_file).config
    configuration.check_interface(config)
    proven = [f"{arguments.config}: {len(config.nodes)} nodes, {len(config.claims)} claims"]
    if arguments.online:
        # pylint: disable=import-outside-toplevel  # boto3 is heavy, and only --online needs it
        from .service.outside import connect
        from .service.preflight import check_identity, check_online

        proven += check_identity(config)
        outside = connect(config, runner)
        proven += check_online(config, outside.ec2, outside.table)
    sys.stdout.write(f"ok: {'; '.join(proven)}\n")
    return 0


def _rules(arguments: argparse.Namespace, runner: Runner) -> int:
    config = configuration.load(arguments.config)
    if config.me.witness and arguments.what != "remove":
        raise NatFailoverError(
            "this node is a witness, which NATs nothing and needs no rules; `nat-failover rules remove` removes them"
        )
    if arguments.what == "check":
        found = [
            *netfilter.differences(config.nat, runner),
            *flowtable.differences(config.nat, runner),
            *([] if config.nat.synced else address_map.differences(config.nat, runner)),
            *queues.differences(config.nat),
        ]
        sys.stdout.write("\n".join(found or ["ok"]) + "\n")
        return 1 if found else 0
    if arguments.what == "remove":
        changed = any([netfilter.remove_rules(runner), flowtable.remove(runner), address_map.remove(runner)])
    else:
        configuration.check_interface(config)
        changed = netfilter.apply_rules(config.nat, runner)
        changed = kernel.write_sysctls(kernel.tracking(config.nat)) or changed  # some of the rules need it
        changed = (not config.nat.synced and address_map.remove(runner)) or changed  # of an earlier configuration
        changed = flowtable.apply(config.nat, runner) or changed
        changed = queues.apply(config.nat) or changed
    sys.stdout.write("changed\n" if changed else "ok\n")
    return 0


def _canary(arguments: argparse.Namespace, runner: Runner) -> int:
    from .host.canary_process import live  # pylint: disable=import-outside-toplevel

    config = configuration.load(arguments.config)
    if not config.canary.enabled:
        systemd.sd_notify("READY=1")  # without it systemd reports a failed start
        sys.stdout.write("canary.enabled is false\n")
        return 0
    live(config, runner, arguments.user)
    return 0


def _repair(arguments: argparse.Namespace, runner: Runner) -> int:
    from .host.repair_helper import FAILED, answer  # pylint: disable=import-outside-toplevel

    line = answer(sys.stdin.readline(2000).strip(), configuration.load(arguments.config), runner)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return 1 if line.startswith(FAILED) else 0


def _doctor(arguments: argparse.Namespace, runner: Runner) -> int:
    from .console import doctor  # pylint: disable=import-outside-toplevel  # only this command needs threads

    return doctor.show(arguments, runner)


def _support(arguments: argparse.Namespace, runner: Runner) -> int:
    from .console import support  # pylint: disable=import-outside-toplevel  # only this command needs archives

    return support.write(arguments, runner)


def _completion(arguments: argparse.Namespace, runner: Runner) -> int:
    sys.stdout.write(completion.script(arguments.shell, build()[1]))
    return 0


def _version(arguments: argparse.Namespace, runner: Runner) -> int:
    sys.stdout.write(__version__ + "\n")
    return 0
