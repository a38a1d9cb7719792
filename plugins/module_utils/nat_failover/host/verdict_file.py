# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file by which another program on this host says whether a service works.

It is a JSON object: ``boot_id`` and ``at`` (the kernel's boot id and monotonic seconds, so that
neither a reboot nor a set clock makes an old verdict look new), ``well`` and ``reason``. The
program replaces the file as a whole.
"""

from __future__ import annotations

import json
import os
import stat
import typing as t

from ..errors import NatFailoverError

LARGEST = 4096  # bytes
LONGEST_REASON = 200  # characters
BOOT_ID = "/proc/sys/kernel/random/boot_id"  # random(4)


class ServiceVerdict(t.NamedTuple):
    """One verdict on a service. ``at``: monotonic seconds."""

    at: float
    well: bool
    reason: str


def read(path: str, boot_id_file: str = BOOT_ID) -> ServiceVerdict:
    """The verdict in a file. Raises ``NatFailoverError`` for one that says nothing of this boot."""
    try:
        found = json.loads(_content(path))
        at, well, reason, boot = (found[key] for key in ("at", "well", "reason", "boot_id"))
        if not isinstance(well, bool) or isinstance(at, bool) or not isinstance(at, (int, float)):
            raise ValueError("a value of another type")
        verdict = ServiceVerdict(float(at), well, str(reason)[:LONGEST_REASON])
        present = _boot_id(boot_id_file)
    except OSError as error:
        raise NatFailoverError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise NatFailoverError(f"{path} holds no verdict") from None
    if boot != present:
        raise NatFailoverError(f"{path} is from before the last boot")
    return verdict


def _boot_id(path: str) -> str:
    with open(path, encoding="ascii") as stream:
        return stream.read().strip()


def _content(path: str) -> bytes:
    """The content. Another program owns the file, so neither a pipe nor a link may hold this one up."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("no regular file")
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("too long")
    return content
