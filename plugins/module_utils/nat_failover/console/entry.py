# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of an error to the exit code of a command."""

from __future__ import annotations

import argparse
import sys
import typing as t

from ..errors import ConfigError, NatFailoverError, NoAnswer, NotPermitted, UsageError
from ..model.text import plain

# sysexits.h: EX_USAGE, EX_NOPERM
REFUSED, USAGE, NOT_PERMITTED, NO_ANSWER = 1, 64, 77, 3
# The first that fits decides.
EXITS: tuple[tuple[type[NatFailoverError], int], ...] = (
    (NotPermitted, NOT_PERMITTED),
    (UsageError, USAGE),
    (ConfigError, USAGE),
    (NoAnswer, NO_ANSWER),
)


class Parser(argparse.ArgumentParser):
    """Raises ``UsageError`` instead of ending the process."""

    def error(self, message: str) -> t.NoReturn:
        """One line with a remedy."""
        raise UsageError(f"{message}; try `{self.prog} --help`")


def guarded(call: t.Callable[[], int]) -> int:
    """The exit code of a call. ``NatFailoverError`` becomes one line on stderr."""
    try:
        return call()
    except NatFailoverError as error:
        sys.stderr.write(f"nat-failover: {plain(str(error))}\n")
        return next((code for kind, code in EXITS if isinstance(error, kind)), REFUSED)
