# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section on ways of the kernel to forward packets with less work, or on more CPUs."""

from __future__ import annotations

from ..errors import ConfigError
from ..model.cpu_list import ALL, NONE, cpus_of
from .reader import Reader


def receive_cpus(reader: Reader) -> str:
    """``acceleration.receive_cpus``: all, none, or a list of CPUs. Empty: the kernel's own choice."""
    text = reader.text("receive_cpus", "")
    if text in ("", ALL, NONE):
        return text
    try:
        cpus_of(text)
    except ValueError:
        raise ConfigError(
            "acceleration.receive_cpus",
            text,
            "is no list of CPUs",
            f'write "{ALL}", "{NONE}" or e.g. "0-2,5", or leave it out',
        ) from None
    return text


def flowtable(reader: Reader) -> bool:
    """``acceleration.flowtable``: whether established flows bypass the rules."""
    return reader.flag("flowtable", False)
