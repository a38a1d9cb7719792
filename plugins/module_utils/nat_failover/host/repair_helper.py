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
from ..model.settings import CARRY, RESET, RESUME, Config
from . import kernel, netfilter

RULES, SYSCTLS = "rules", "sysctls"  # the words that the helper knows
IDENTITIES = "identities"  # a third one, with states after it, such as "identities nat-a=carry nat-b=resume"
STATES = (RESET, RESUME, CARRY)
CHANGED, NOTHING, FAILED = "mended", "nothing to mend", "failed"  # how its answers begin


def answer(word: str, config: Config, runner: netfilter.Runner, proc: str = kernel.PROC) -> str:
    """Repair what the word names.

    Returns the line to answer, which begins with "failed" after an error.
    """
    try:
        if word == RULES:
            changed = netfilter.apply_rules(config.nat, runner)
        elif word.split(" ")[0] == IDENTITIES:
            changed = netfilter.apply_rules(config.nat, runner, _states(word, config))
        elif word == SYSCTLS:
            changed = kernel.write_sysctls(kernel.sysctls(config.nat), proc)
        else:
            return f"{FAILED}: unknown word {word[:20]!r}; known: {RULES}, {SYSCTLS}, {IDENTITIES}"
    except NatFailoverError as error:
        return "{}: {}".format(FAILED, str(error).replace("\n", " "))
    return CHANGED if changed else NOTHING


def _states(word: str, config: Config) -> dict[str, str]:
    """The states that follow the word. Raises ``NatFailoverError`` for a name or state that is none."""
    known = {each.name for each in config.nat.identities}
    found = {}
    for each in word.split(" ")[1:]:
        name, _equals, state = each.partition("=")
        if name not in known or state not in STATES:
            raise NatFailoverError(
                f"{each[:80]!r} is no identity of this node with one of the states {', '.join(STATES)}"
            )
        found[name] = state
    return found
