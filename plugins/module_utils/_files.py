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
    """A file as it is or should be.

    ``group`` is a gid. None: the group does not exist yet, which check mode may find.
    """

    content: bytes
    mode: int
    owner: int
    group: int | None


class Refused(Exception):
    """The ``validate`` command rejected the new content."""


def present(path: str) -> File | None:
    """The plain file at ``path``; None if there is none."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        with open(path, "rb") as stream:
            return File(stream.read(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    except (FileNotFoundError, NotADirectoryError):
        return None


def equal(present: File | None, wanted: File, comments: bool = True) -> bool:
    """Whether a file is as wanted; without ``comments``, lines that begin with # or ; and empty
    lines do not count.
    """
    if present is None or comments:
        return present == wanted
    return _without_comments(present) == _without_comments(wanted)


def _without_comments(file: File) -> File:
    lines = (line.strip() for line in file.content.splitlines())
    return file._replace(content=b"\n".join(line for line in lines if line and line[:1] not in (b"#", b";")))


def write(module: t.Any, path: str, wanted: File, validate: str | None = None) -> None:
    """Replace a file. A reader sees the old or the new one, never with more rights than wanted."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):  # atomic_move would raise what says less
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder", path)
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as stream:
        stream.write(wanted.content)
    if validate:
        code, out, err = module.run_command(validate.replace("%s", temporary))
        if code != 0:
            os.unlink(temporary)
            raise Refused(f"{path}: failed to validate: {(err or out).strip()}")
    os.chown(temporary, wanted.owner, -1 if wanted.group is None else wanted.group)
    os.chmod(temporary, wanted.mode)
    module.atomic_move(temporary, path)
    # It keeps owner and mode of the file that was there before.
    os.chown(path, wanted.owner, -1 if wanted.group is None else wanted.group)
    os.chmod(path, wanted.mode)


def folder_is_right(path: str, mode: int, group: int | None = -1) -> bool:
    """Whether the folder exists, belongs to this user, and has this mode (and group, unless -1)."""
    if not os.path.isdir(path):
        return False
    status = os.stat(path)
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == mode and group in (-1, status.st_gid)


def ensure_folder(path: str, mode: int, group: int = -1) -> None:
    """Make the folder, owned by this user, with this mode. A ``group`` of -1 stays as it is."""
    os.makedirs(path, mode=mode, exist_ok=True)
    os.chown(path, os.geteuid(), group)
    os.chmod(path, mode)
