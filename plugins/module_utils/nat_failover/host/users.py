# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Local users by their names."""

from __future__ import annotations

import pwd
import typing as t

# Agents and cloud-init run as root. EC2 Instance Connect reads the keys of logins from the metadata
# service as a user of its own.
ALWAYS = ("root", "ec2-instance-connect")


def ids(names: t.Iterable[str]) -> tuple[int, ...]:
    """The ids of the users that exist, in order. A name without a user is left out."""
    found = set()
    for name in names:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            pass
    return tuple(sorted(found))


def missing(names: t.Iterable[str]) -> tuple[str, ...]:
    """The names without a user."""
    return tuple(name for name in names if not ids((name,)))
