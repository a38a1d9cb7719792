# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab``: exit code 0 fine, 1 not so, 2 bad input or something must be done first. Progress goes to stderr."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
import tomllib
from collections.abc import Sequence
from typing import Any, NoReturn

import yaml

from . import __doc__ as what
from . import launch, render
from .errors import LabError, Prerequisite
from .fabric.names import Names
from .settings import BARE, FAULTS, MACHINE, Settings

PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
PROGRAMS = tomllib.loads((launch.ROOT / "tools" / "programs.toml").read_text(encoding="utf-8"))


def progress(text: str) -> None:
    """One line to the operator."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        check(getattr(arguments, "weight", BARE))
        return int(arguments.call(arguments) or 0)
    except Prerequisite as error:
        progress(str(error))
        return 2
    except LabError as error:
        progress(str(error))
        return 1
    except KeyboardInterrupt:
        progress("interrupted")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def check(weight: str) -> None:
    """Refuse in one line what could not work."""
    if os.geteuid() != 0:
        raise Prerequisite("the lab makes network namespaces: run this as root (sudo)")
    needed = {**PROGRAMS["lab"], **(PROGRAMS["machine"] if weight == MACHINE else {})}
    missing = sorted({package for program, package in needed.items() if not shutil.which(program, path=PATH)})
    if missing:
        raise Prerequisite(f"not installed: {', '.join(missing)}; on Debian: apt-get install {' '.join(missing)}")


def _up(arguments: argparse.Namespace) -> int:
    zones = tuple(arguments.zones.split(","))
    if not zones or len(set(zones)) != len(zones) or not set(zones) <= {"a", "b", "c"}:
        raise Prerequisite(f"--zones is a list of different zones out of a,b,c, not {arguments.zones!r}")
    settings = Settings(
        arguments.name, zones, arguments.weight, not arguments.no_iam, ipv6=arguments.ipv6, egress=arguments.egress
    )
    launch.up(settings, progress)
    return _status(arguments)


def _down(arguments: argparse.Namespace) -> int:
    was = launch.down(Names(arguments.name))
    progress(f"lab {arguments.name} is down" if was else f"there was no lab {arguments.name}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    data = launch.call(Names(arguments.name), "status")
    print(json.dumps(data, indent=2) if getattr(arguments, "json", False) else render.text(data))
    return 0


def _exec(arguments: argparse.Namespace) -> NoReturn:
    answer = launch.call(Names(arguments.name), "command", host=arguments.host)
    argv = [*answer["command"], *(arguments.command or ["bash", "-l"])]
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def _fault(arguments: argparse.Namespace) -> int:
    options = dict(_option(text) for text in arguments.options)
    if arguments.kind == "api":
        given = [text for text in [arguments.host] if text]
        options = dict(_option(text) for text in [*given, *arguments.options])
        arguments.host = ""
    launch.call(Names(arguments.name), "fault", kind=arguments.kind, host=arguments.host, **options)
    return 0


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or key in ("kind", "host"):
        raise Prerequisite(f"an option is KEY=VALUE, not {text!r}")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _heal(arguments: argparse.Namespace) -> int:
    launch.call(Names(arguments.name), "heal")
    return 0


def _inventory(arguments: argparse.Namespace) -> int:
    data = _machines(arguments)
    print(yaml.safe_dump(render.inventory(data), sort_keys=False, width=1000), end="")
    return 0


def _ssh_config(arguments: argparse.Namespace) -> int:
    print(render.ssh_config(_machines(arguments)))
    return 0


def _env(arguments: argparse.Namespace) -> int:
    data = launch.call(Names(arguments.name), "status")
    for key, value in render.environment(data).items():
        print(f"export {key}={shlex.quote(value)}")
    return 0


def _machines(arguments: argparse.Namespace) -> dict[str, Any]:
    data = launch.call(Names(arguments.name), "status")
    if data["weight"] != MACHINE:
        raise Prerequisite(f"lab {arguments.name} has bare hosts without sshd; see: lab up --weight machine")
    return data


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description=what)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(word: str, call: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(word, help=text, description=text)
        sub.add_argument("--name", default="lab", help="the lab's name; several may exist (default: lab)")
        sub.set_defaults(call=call)
        return sub

    up = command("up", _up, "start a lab; does nothing if it is up")
    up.add_argument("--weight", choices=(BARE, MACHINE), default=MACHINE, help="what a NAT node is (default: machine)")
    up.add_argument("--zones", default="a,b", help="availability zones, one NAT node in each (default: a,b)")
    up.add_argument("--no-iam", action="store_true", help="let every caller do everything")
    up.add_argument("--ipv6", action="store_true", help="IPv6 besides IPv4, with default routes of its own")
    up.add_argument("--egress", action="store_true", help="an egress address for each zone (see lab/egress.py)")
    command("down", _down, "remove a lab, also what a crashed one left")
    command("status", _status, "show hosts, routes and faults").add_argument("--json", action="store_true")
    run = command("exec", _exec, "run a command on a host (a shell without one)")
    run.add_argument("host")
    run.add_argument("command", nargs=argparse.REMAINDER)
    kinds = "; ".join(f"{kind}: {meaning}" for kind, meaning in FAULTS.items())
    fault = command("fault", _fault, f"break something. {kinds}")
    fault.add_argument("kind", choices=FAULTS, metavar="KIND")
    fault.add_argument("host", nargs="?", default="", metavar="HOST")
    fault.add_argument(
        "options", nargs="*", metavar="KEY=VALUE", help="peer=nat-b direction=in percent=10, what=spot, or a rule"
    )
    command("heal", _heal, "end all faults; killed hosts are rebooted")
    command("inventory", _inventory, "print an Ansible inventory of the NAT nodes (YAML)")
    command("ssh-config", _ssh_config, "print a configuration for ssh -F")
    command("env", _env, "print the environment of an AWS client (shell)")
    return parser


def _terminated(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt
