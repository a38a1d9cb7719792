# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root helper of self-repair: it repairs the rules or the sysctls of this node, and nothing
else.

The service runs unprivileged. For each connection to a socket that only the service's group may
open, systemd starts ``nat-failover repair``. The helper reads one word, repairs, answers one line
and ends. The configuration decides what it writes, never the service that asked.
"""

from __future__ import annotations

from ..errors import NatFailoverError
from ..model.settings import Config
from . import kernel, netfilter

RULES, SYSCTLS = "rules", "sysctls"  # the words that the helper knows
CHANGED, NOTHING, FAILED = "mended", "nothing to mend", "failed"  # how its answers begin


def answer(word: str, config: Config, runner: netfilter.Runner, proc: str = kernel.PROC) -> str:
    """Repair what the word names.

    Returns the line to answer, which begins with "failed" after an error.
    """
    try:
        if word == RULES:
            changed = netfilter.apply_rules(config.nat, runner)
        elif word == SYSCTLS:
            changed = kernel.write_sysctls(kernel.sysctls(config.nat), proc)
        else:
            return f"{FAILED}: unknown word {word[:20]!r}; known: {RULES}, {SYSCTLS}"
    except NatFailoverError as error:
        return "{}: {}".format(FAILED, str(error).replace("\n", " "))
    return CHANGED if changed else NOTHING
