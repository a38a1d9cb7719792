# SPDX-License-Identifier: GPL-3.0-or-later
"""./dev bare: README's two commands on a machine that has nothing, one fresh Debian for each.

The machine is a folder with a minimal Debian, git, python3 and ca-certificates. A command runs in it with a mount and a process
namespace of its own, so that whatever it mounts and starts ends with it. The network is this machine's: packages are downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from devtool import apt, console, locking, paths, process
from lab import archive

SUITES = ("bookworm", "trixie")
COMMANDS = ("demo", "test")
HAS = ("git", "python3", "ca-certificates")  # as README says
MOUNTS = Path("/proc/self/mounts")
RECORD = paths.TESTS / "bare.json"
LIMITS = {"demo": 3600.0, "test": 4 * 3600.0}
HOME = "/root/egress"
# Files by which this machine reaches its package archives. They are no part of Debian.
OF_THE_NETWORK = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "root/.config/pip/pip.conf", "root/.pip/pip.conf")
CERTIFICATES = "usr/local/share/ca-certificates"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
# $1: the root. In namespaces of its own, in which this shell is process 1: it waits for orphans, and all ends with it.
ENTER = """set -eu
root=$1; shift
mount --rbind "$root" "$root"  # ip netns exec wants the root to be a mount
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Result:
    """How a command went. `machine_seconds`: what the making of the machine took before it, which README's reader does not do."""

    suite: str
    command: str
    commit: str
    when: str
    code: int
    seconds: int
    machine_seconds: int
    said: str


def main(arguments: Sequence[str]) -> int:
    """Play the commands on each suite, and record how each went. 0 when all went well."""
    options = parse(arguments)
    if os.geteuid() != 0:
        raise console.Refusal("a bare machine needs chroot and mounts: run this with sudo")
    apt.ensure(apt.BARE)
    if subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=paths.ROOT, check=False).returncode:
        console.progress("the checkout has changes that are not committed; the last commit is what is played")
    results = []
    with locking.exclusive("bare"):
        for suite in options.suite or SUITES:
            for command in options.command or COMMANDS:
                results.append(play(suite, [command, *(["--only", options.only] if options.only else [])]))
                record(RECORD, results[-1])
    return 1 if any(result.code for result in results) else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of ./dev bare."""
    parser = argparse.ArgumentParser(prog="./dev bare", description="README's commands on a fresh, minimal Debian.")
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this Debian; may be repeated")
    parser.add_argument("--command", action="append", choices=COMMANDS, help="only this command; may be repeated")
    parser.add_argument("--only", metavar="STAGE[,STAGE...]", default="", help="only these stages of ./dev test")
    options = parser.parse_args(arguments)
    if options.only:
        options.command = ["test"]
    return options


def play(suite: str, words: Sequence[str]) -> Result:
    """Make a machine, run ./dev with these words on it, and remove it."""
    root = paths.CACHE / "bare" / suite
    log = paths.LOGS / f"bare-{suite}-{words[0]}.log"
    remove(root)
    began, commit = time.monotonic(), _commit()  # before others land on the branch
    try:
        console.progress(f"making a bare {suite} in {root}")
        make(root, suite, log)
        made = time.monotonic()
        text = " ".join(("./dev", *words))
        console.progress(f"{suite}: {text}; its output is in {log}")
        argv = enter(root, [f"{HOME}/dev", *words])
        outcome = process.run(
            argv, log=log, cwd=paths.ROOT, limit=LIMITS[words[0]], title=f"{suite}: {text}", append=True
        )
    finally:
        remove(root)
    said = last_line(outcome.text())
    console.result(f"{suite}: {text}: exit code {outcome.code} after {console.seconds(outcome.seconds)}: {said}")
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Result(suite, text, commit, when, outcome.code, round(outcome.seconds), round(made - began), said)


def make(root: Path, suite: str, log: Path) -> None:
    """A minimal Debian with what README asks for and a clone of this checkout."""
    root.parent.mkdir(parents=True, exist_ok=True)
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(HAS)}"]
    argv += [suite, str(root), archive.mirror().source(suite)]
    if process.run(argv, log=log, cwd=paths.ROOT, limit=1800, title=f"mmdebstrap {suite}").code:
        raise console.Refusal(f"the bare {suite} could not be made; see {log}")
    _lend_network(root)
    # No package may start a service here, as in a container: it would be a process of this machine.
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    if any((root / CERTIFICATES).glob("*.crt")):
        process.run(
            enter(root, ["/usr/sbin/update-ca-certificates"]), log=log, cwd=paths.ROOT, limit=120, title="certificates"
        )
    clone = [
        "git",
        "-c",
        "safe.directory=*",
        "clone",
        "--quiet",
        "--no-hardlinks",
        f"file://{paths.ROOT}",
        f"{root}{HOME}",
    ]
    if process.run(clone, log=log, cwd=paths.ROOT, limit=300, title="git clone", append=True).code:
        raise console.Refusal(f"the checkout could not be cloned; see {log}")


def _lend_network(root: Path) -> None:
    """How this machine reaches its archives: names, certificates, and pip's index."""
    for name in OF_THE_NETWORK:
        if (Path("/") / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path("/") / name, root / name)
    for file in (Path("/") / CERTIFICATES).glob("*.crt"):
        (root / CERTIFICATES).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, root / CERTIFICATES / file.name)


def enter(root: Path, words: Sequence[str]) -> list[str]:
    """The command that runs `words` in the root, with the environment of a first login."""
    given = {name: value for name, value in os.environ.items() if name.upper() in VARIABLES}
    clean = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "dumb"}
    pairs = [f"{name}={value}" for name, value in {**clean, **given}.items()]
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    command = ["sh", "-c", ENTER, "sh", str(root), "env", "-i", *pairs, *words]
    return [*argv, *command]


def remove(root: Path) -> None:
    """The machine, whose mounts went with their namespace. Nothing is deleted through a mount."""
    mounts = MOUNTS.read_text(encoding="utf-8", errors="replace")
    below = [line.split()[1] for line in mounts.splitlines() if line.split()[1].startswith(f"{root}/")]
    if below:
        raise console.Refusal(f"{root} has mounts in it: {', '.join(below)}; unmount them, then remove it")
    shutil.rmtree(root, ignore_errors=True)


def last_line(text: str) -> str:
    """The last line of a command."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def record(path: Path, result: Result) -> None:
    """Keep the last result of each command on each suite."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known[f"{result.suite}: {result.command}"] = asdict(result)
    path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _commit() -> str:
    argv = ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"]
    return subprocess.run(argv, cwd=paths.ROOT, capture_output=True, text=True, check=False).stdout.strip()
