# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to this collection: files of a node, several in one task, each replaced at once."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import typing as t


class File(t.NamedTuple):
    """A file as it is or should be. ``group`` is a number; None for one that does not exist yet, as check mode may find it."""

    content: bytes
    mode: int
    owner: int
    group: t.Optional[int]


class Refused(Exception):
    """What validates a content did not like it."""


def present(path: str) -> t.Optional[File]:
    """What is there; None for nothing, or for what is no plain file."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        with open(path, "rb") as stream:
            return File(stream.read(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(module: t.Any, path: str, wanted: File, validate: t.Optional[str] = None) -> None:
    """Replace a file: whoever reads it sees the old or the new one, and never with more rights than asked for."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):  # atomic_move would raise what says less
        raise NotADirectoryError(errno.ENOTDIR, "%s is no folder" % folder, path)
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as stream:
        stream.write(wanted.content)
    if validate:
        code, out, err = module.run_command(validate.replace("%s", temporary))
        if code != 0:
            os.unlink(temporary)
            raise Refused("%s: failed to validate: %s" % (path, (err or out).strip()))
    os.chown(temporary, wanted.owner, -1 if wanted.group is None else wanted.group)
    os.chmod(temporary, wanted.mode)
    module.atomic_move(temporary, path)
    # It keeps owner and mode of the file that was there before.
    os.chown(path, wanted.owner, -1 if wanted.group is None else wanted.group)
    os.chmod(path, wanted.mode)


def folder_is_right(path: str, mode: int, group: t.Optional[int] = -1) -> bool:
    """Whether it is there, is ours, and has this mode (and group, if one is asked for)."""
    if not os.path.isdir(path):
        return False
    status = os.stat(path)
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == mode and group in (-1, status.st_gid)


def ensure_folder(path: str, mode: int, group: int = -1) -> None:
    """A folder of ours with this mode."""
    os.makedirs(path, mode=mode, exist_ok=True)
    os.chown(path, os.geteuid(), group)
    os.chmod(path, mode)
