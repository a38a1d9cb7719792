# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root helper of self-repair: it repairs the rules or the sysctls of this node, and gives
conntrackd its orders, and nothing else.

The service runs unprivileged. For each connection to a socket that only the service's group may
open, systemd starts ``nat-failover repair``. The helper reads one word, repairs, answers one line
and ends. The configuration decides what it writes, never the service that asked.
"""

from __future__ import annotations

import typing as t

from ..errors import NatFailoverError
from ..model.nat import STATES
from ..model.settings import Config
from ..model.sync import WORD
from . import kernel, netfilter, state_sync
from .helper_words import assigned

RULES, SYSCTLS = "rules", "sysctls"  # the words that the helper knows
IDENTITIES = "identities"  # a third one, with states after it, such as "identities nat-a=carry nat-b=resume"
SYNC = WORD  # a fourth one, with an order after it, such as "sync arrange nat-a=here" (host/state_sync.py)
CHANGED, NOTHING, FAILED = "mended", "nothing to mend", "failed"  # how its answers begin


def answer(word: str, config: Config, runner: netfilter.Runner, proc: str = kernel.PROC) -> str:
    """Do what the word names.

    Returns the line to answer, which begins with "failed" after an error.
    """
    name, *more = word.split(" ")
    handler = HANDLERS.get(word) or (HANDLERS_OF_MORE.get(name) if more else None)
    if handler is None:
        known = ", ".join((*HANDLERS, *HANDLERS_OF_MORE))
        return f"{FAILED}: unknown word {word[:20]!r}; known: {known}"
    try:
        done = handler(more, config, runner, proc)
    except NatFailoverError as error:
        return "{}: {}".format(FAILED, str(error).replace("\n", " "))
    return done if isinstance(done, str) else CHANGED if done else NOTHING


Handler = t.Callable[[t.Sequence[str], Config, netfilter.Runner, str], t.Union[bool, str]]
HANDLERS: t.Mapping[str, Handler] = {
    RULES: lambda _more, config, runner, _proc: netfilter.apply_rules(config.nat, runner),
    SYSCTLS: lambda _more, config, _runner, proc: kernel.write_sysctls(kernel.sysctls(config.nat), proc),
}
HANDLERS_OF_MORE: t.Mapping[str, Handler] = {
    IDENTITIES: lambda more, config, runner, _proc: netfilter.apply_rules(
        config.nat, runner, assigned(config.nat, more, STATES, "with one of the states")
    ),
    SYNC: lambda more, config, runner, _proc: state_sync.answer(more, config, runner),
}
