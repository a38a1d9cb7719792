# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to this collection: run a command as a systemd service would run it.

A command that root can run proves nothing about a service of another user in a sandbox with another
environment. So it runs in a oneshot unit of its own, with the ``[Service]`` section of the service
and the operator's drop-ins for it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import typing as t

BOOTED = "/run/systemd/system"  # sd_booted(3); systemd reads units from here too
FOLDERS = ("/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system", "/etc/systemd/system")
# Settings for the life of the service, not for the conditions that it runs under. The end of a
# proof would remove the runtime directory, also that of the running service.
OF_ITS_LIFE = (
    "Type",
    "NotifyAccess",
    "Exec",
    "Restart",
    "Watchdog",
    "Timeout",
    "RuntimeDirectory",
    "RuntimeMaxSec",
    "StateDirectory",
    "Standard",
    "RemainAfterExit",
    "PIDFile",
    "GuessMainPID",
    "Success",
    "FileDescriptorStore",
    "CollectMode",
    "OOM",
    "Nice",
    "CPUWeight",
)
STRANGER = "nobody"  # stands in for a user that does not exist yet: neither owner nor group of anything
NOT_EXECUTED = 203  # EXIT_EXEC of systemd.exec(5)
TIMED_OUT = 124


class Outcome(t.NamedTuple):
    """How the command ended: its exit code, or one of systemd's from 200 on, and what it wrote."""

    code: int
    out: str
    err: str


def conditions(texts: t.Sequence[str]) -> list[str]:
    """The lines of ``[Service]`` of a unit and its drop-ins, in order, without those of the
    service's own life.
    """
    lines = []
    for text in texts:
        section = ""
        for line in text.replace("\\\n", " ").splitlines():
            line = line.strip()
            if line.startswith("["):
                section = line
            elif section == "[Service]" and "=" in line and line[0] not in "#;" and not line.startswith(OF_ITS_LIFE):
                lines.append(line)
    return lines


def known_user(lines: t.Sequence[str], exists: t.Callable[[str], bool]) -> list[str]:
    """The same lines, with a user without any rights in the place of a user that does not exist
    yet.
    """
    users = [line.partition("=")[2] for line in lines if line.startswith("User=")]
    if not users or exists(users[-1]):
        return list(lines)
    return [line for line in lines if not line.startswith(("User=", "Group="))] + [f"User={STRANGER}"]


def unit(name: str, argv: t.Sequence[str], lines: t.Sequence[str], folder: str, timeout: float) -> str:
    """A unit that runs ``argv`` once as the unit ``name`` would, and writes what it says into
    ``folder``.
    """
    own = [
        "Type=oneshot",
        "ExecStart=" + " ".join(quoted(word) for word in argv),
        f"StandardOutput=file:{folder}/out",
        f"StandardError=file:{folder}/err",
        f"TimeoutStartSec={timeout:g}",
    ]
    return "\n".join(["[Unit]", f"Description=Proof of what {name} can do", "[Service]", *own, *lines, ""])


def quoted(word: str) -> str:
    """A word of ExecStart, in which systemd finds nothing to expand (systemd.syntax(7),
    systemd.service(5)).
    """
    for character in ("\\", '"'):
        word = word.replace(character, "\\" + character)
    return '"{}"'.format(word.replace("$", "$$").replace("%", "%%"))


def drop_ins(name: str, folders: t.Sequence[str] = FOLDERS) -> list[str]:
    """The operator's drop-ins for a unit, in the order of systemd (systemd.unit(5)).

    They are ordered by file name. A file replaces one of the same name in an earlier folder.
    """
    found = {}
    for folder in folders:
        where = os.path.join(folder, name + ".d")
        for file in sorted(os.listdir(where)) if os.path.isdir(where) else ():
            if file.endswith(".conf"):
                found[file] = os.path.join(where, file)
    texts = []
    for _file, path in sorted(found.items()):
        with open(path, encoding="utf-8", errors="replace") as stream:
            texts.append(stream.read())
    return texts


def run(
    module: t.Any, argv: t.Sequence[str], name: str, text: str, readable: t.Mapping[str, bytes], timeout: float = 60
) -> Outcome:
    """Run ``argv`` under the conditions of the unit ``name``, whose text is ``text``.

    ``readable``: files that the command is given, by the word of ``argv`` that their path takes the
    place of. Only root and the group of the service can read them. Without systemd the command runs
    as it is.
    """
    lines = known_user(conditions([text, *drop_ins(name)]), _user_exists)
    folder = tempfile.mkdtemp(prefix="nat-failover-proof-", dir="/run" if os.path.isdir(BOOTED) else None)
    try:
        os.chmod(folder, 0o750)
        os.chown(folder, os.geteuid(), _group(lines))
        words = []
        for number, word in enumerate(argv):
            if word in readable:
                path = os.path.join(folder, f"file{number}")
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o640), "wb") as stream:
                    stream.write(readable[word])
                os.chown(path, os.geteuid(), _group(lines))
                word = path
            words.append(word)
        if not os.path.isdir(BOOTED):
            return Outcome(*module.run_command(words))
        return _run_unit(module, unit(name, words, lines, folder, timeout), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_unit(module: t.Any, text: str, folder: str) -> Outcome:
    name = os.path.basename(folder) + ".service"
    path = os.path.join(BOOTED, name)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    try:
        _code, _out, systemctl = module.run_command(["systemctl", "start", name])
        shown = module.run_command(["systemctl", "show", "--property=ExecMainStatus,Result", name])[1]
        state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        code = int(state.get("ExecMainStatus") or 0)
        if state.get("Result") == "timeout":
            code = TIMED_OUT
        elif state.get("Result") != "success" and not code:
            code = 1
        return Outcome(code, _text(folder, "out"), _text(folder, "err") or (systemctl if code else ""))
    finally:
        os.unlink(path)
        module.run_command(["systemctl", "reset-failed", name])


def _text(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _group(lines: t.Sequence[str]) -> int:
    """The group of the service's user, so that it can read what it is given; -1 leaves things as
    they are.
    """
    users = [line.partition("=")[2] for line in lines if line.startswith("User=")]
    try:
        return pwd.getpwnam(users[-1]).pw_gid if users else -1
    except KeyError:
        return -1
