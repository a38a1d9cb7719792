# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``nat-failover`` command. ``main(argv, runner)`` returns the exit code: 0 fine, 1 what was asked for is not so, 2 bad input."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import typing as t

from . import __version__
from .config import load as configuration
from .errors import ConfigError, NatFailoverError
from .host import kernel as system
from .policy import pause
from .service.control import ask
from .service.journal import start_logging

Runner = t.Callable[..., t.Tuple[int, str, str]]
DEFAULT_CONFIG = "/etc/nat-failover/config.json"


def main(argv: t.Sequence[str], runner: Runner) -> int:
    """Run one command. Errors that an operator can mend are one line on stderr, without a traceback."""
    arguments = _parser().parse_args(argv)
    try:
        return t.cast(int, arguments.function(arguments, runner))
    except ConfigError as error:
        sys.stderr.write("nat-failover: %s\n" % error)
        return 2
    except NatFailoverError as error:
        sys.stderr.write("nat-failover: %s\n" % error)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nat-failover", description="Highly available egress with NAT instances.")
    parser.add_argument("--config", default=DEFAULT_CONFIG, help="configuration file (default: %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: t.Callable[[argparse.Namespace, Runner], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        # Also after the command, since that is where people write it; only there it must not reset what was given before.
        command.add_argument("--config", default=argparse.SUPPRESS, help="configuration file")
        command.set_defaults(function=function)
        return command

    add("run", _run, "run the service in the foreground (systemd does this)")
    check = add("check-config", _check_config, "validate a configuration file")
    check.add_argument(
        "--online", action="store_true", help="also ask EC2: instances, route tables, permissions (dry runs)"
    )
    status = add("status", _status, "what this node sees, concludes and owns")
    status.add_argument("--json", action="store_true", help="everything, as JSON")
    drain = add("drain", _drain, "hand over all claims before maintenance; outlives a reboot, until `resume`")
    drain.add_argument(
        "--wait", type=float, default=60.0, metavar="S", help="seconds to wait for the peers (default: %(default)s)"
    )
    drain.add_argument(
        "--reason", default="asked for by the operator", help="kept in the drained tag and in the history"
    )
    add("resume", _resume, "be eligible again after a drain")
    add("leave", _leave, "hand over all claims if this machine shuts down (systemd does this)")
    pausing = add("pause", _pause, "let no node of the cluster write anything for a time")
    pausing.add_argument(
        "--for", dest="length", default="1h", metavar="TIME", help="e.g. 30m or 2h (default: %(default)s)"
    )
    add("unpause", _unpause, "end a pause before its time")
    rules = add("rules", _rules, "the iptables rules that this node owns")
    rules.add_argument("what", choices=("apply", "check", "remove"))
    canary = add("canary", _canary, "be the client whose packets prove that this node NATs (systemd does this)")
    canary.add_argument("--user", default="", help="whom to become once the namespace is there")
    add("repair", _repair, "mend what the service asks for on standard input: rules or sysctls (systemd does this)")
    add("version", _version, "print the version")
    return parser


def _run(arguments: argparse.Namespace, runner: Runner) -> int:
    from .service.service import Service  # pylint: disable=import-outside-toplevel  # boto3 is heavy, and only this command needs it

    config = configuration.load(arguments.config)
    keys = configuration.load_keys(config.key_file)
    configuration.check_interface(config)
    stop_logging = start_logging(config.state_directory)

    async def life() -> None:
        service = Service(
            config, keys, runner, arguments.config
        )  # in here: before Python 3.10, events belong to the running loop
        gc.freeze()  # what is loaded now stays: keep the collector away from botocore's model
        await service.run()

    try:
        asyncio.run(life())
    finally:
        stop_logging()
    return 0


def _check_config(arguments: argparse.Namespace, runner: Runner) -> int:
    config = configuration.load(arguments.config)
    configuration.check_interface(config)
    proven = ["%s: %d nodes, %d claims" % (arguments.config, len(config.nodes), len(config.claims))]
    if arguments.online:
        from .aws import witness_table as witness  # pylint: disable=import-outside-toplevel
        from .service.preflight import check_online  # pylint: disable=import-outside-toplevel
        from .service.service import Service  # pylint: disable=import-outside-toplevel

        configuration.load_keys(config.key_file)
        proven += check_online(config, Service.connect(config), witness.connect(config))
    sys.stdout.write("ok: %s\n" % "; ".join(proven))
    return 0


def _status(arguments: argparse.Namespace, runner: Runner) -> int:
    status = ask(configuration.load(arguments.config).runtime_directory, {"do": "status"})
    if status is None:
        raise NatFailoverError(
            "the service does not run here; start it with `systemctl start nat-failover`, or look at `journalctl -u nat-failover`"
        )
    if arguments.json:
        sys.stdout.write(json.dumps(status, indent=2) + "\n")
        return 0
    lines = ["%s (%s, mode %s): %s" % (status["node"], status["cluster"], status["mode"], status["summary"])]
    lines += ["  notice: %s" % notice for notice in status["notices"]]
    if status["forbidden"]:
        lines.append("  nothing is written now: %s" % status["forbidden"])
    lines.append("  facts: %s" % ", ".join("%s %s" % fact for fact in status["self"]["facts"].items()))
    lines.extend("  warning: %s" % text for text in status["self"]["warnings"])
    for verdict in status["verdicts"]:
        lines.append(
            "  peer %s is %s for %s s: %s"
            % (verdict["peer"], verdict["verdict"], verdict["since_s"], verdict["evidence"])
        )
    for claim in status["claims"]:
        away = "" if claim["owner"] == claim["home"] else "  <- away from home %s" % claim["home"]
        lines.append(
            "  claim %s %s: %s (%s)%s"
            % (
                claim["route_table"],
                claim["destination"],
                claim["owner"] or claim["target"] or "nobody",
                claim["state"],
                away,
            )
        )
    if status.get("witness"):  # the service may be of an older version
        lines.append("  witness table %s" % status["witness"])
    for name in ("drift", "withheld"):
        lines.extend("  %s: %s" % (name, line) for line in status[name])
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _drain(arguments: argparse.Namespace, runner: Runner) -> int:
    return _ask(arguments, {"do": "drain", "wait": arguments.wait, "reason": arguments.reason}, arguments.wait + 10)


def _resume(arguments: argparse.Namespace, runner: Runner) -> int:
    return _ask(arguments, {"do": "resume"}, 30)


def _leave(arguments: argparse.Namespace, runner: Runner) -> int:
    """Only in a shutdown: a stop of this unit alone is no reason to move a route."""
    _code, state, _errors = runner(["systemctl", "is-system-running"], timeout=5)
    if state.strip() != "stopping":
        sys.stdout.write("this machine does not shut down: nothing is handed over\n")
        return 0
    config = configuration.load(arguments.config)
    answer = ask(config.runtime_directory, {"do": "leave"}, config.handover.wait + 5)
    sys.stdout.write("%s\n" % (answer["state"] if answer else "the service does not run here: nothing is handed over"))
    return 0


def _pause(arguments: argparse.Namespace, runner: Runner) -> int:
    pause.seconds(arguments.length)  # refused here, before anybody is asked
    return _ask(arguments, {"do": "pause", "for": arguments.length}, 30)


def _unpause(arguments: argparse.Namespace, runner: Runner) -> int:
    return _ask(arguments, {"do": "unpause"}, 60)


def _ask(arguments: argparse.Namespace, request: t.Mapping[str, t.Any], timeout: float) -> int:
    answer = ask(configuration.load(arguments.config).runtime_directory, request, timeout)
    if answer is None:
        raise NatFailoverError("the service does not run here; start it with `systemctl start nat-failover`")
    sys.stdout.write("%s%s\n" % (answer["state"], "" if answer["changed"] else " already"))
    return 0


def _rules(arguments: argparse.Namespace, runner: Runner) -> int:
    config = configuration.load(arguments.config)
    if config.me.witness and arguments.what != "remove":
        raise NatFailoverError(
            "this node is a witness: it NATs nothing and needs no rules; `rules remove` removes old ones"
        )
    if arguments.what == "check":
        looks = (("missing", system.missing_rules), ("left over", system.left_over_rules))
        found = [
            "%s: %s" % (word, text) for word, text in ((word, look(config.nat, runner)) for word, look in looks) if text
        ]
        sys.stdout.write("\n".join(found or ["ok"]) + "\n")
        return 1 if found else 0
    if arguments.what == "remove":
        changed = system.remove_rules(runner)
    else:
        configuration.check_interface(config)
        changed = system.apply_rules(config.nat, runner)
        changed = system.write_sysctls({system.LIBERAL: "1"}) or changed  # what one of the rules rests on
    sys.stdout.write("changed\n" if changed else "ok\n")
    return 0


def _canary(arguments: argparse.Namespace, runner: Runner) -> int:
    from .host.canary_process import live  # pylint: disable=import-outside-toplevel

    config = configuration.load(arguments.config)
    if not config.canary.enabled:
        system.sd_notify("READY=1")  # else systemd would take it for a failed start
        sys.stdout.write("canary.enabled is false\n")
        return 0
    live(config, runner, arguments.user)
    return 0


def _repair(arguments: argparse.Namespace, runner: Runner) -> int:
    from .host.repair_helper import FAILED, answer  # pylint: disable=import-outside-toplevel

    line = answer(sys.stdin.readline(100).strip(), configuration.load(arguments.config), runner)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return 1 if line.startswith(FAILED) else 0


def _version(arguments: argparse.Namespace, runner: Runner) -> int:
    sys.stdout.write(__version__ + "\n")
    return 0
