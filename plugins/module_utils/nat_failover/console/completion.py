# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Completion for bash and zsh, made from the parsers, so that it knows each command and flag."""

from __future__ import annotations

import argparse
import typing as t

SHELLS = ("bash", "zsh")

BASH = """# Completion of nat-failover for bash. Made by `nat-failover completion bash`.
_nat_failover() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} verb="" each
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $each in -*|*/*) ;; *) verb=$each; break ;; esac
    done
    case $verb in
{cases}
        *) COMPREPLY=($(compgen -W "{verbs}" -- "$word")) ;;
    esac
}}
complete -F _nat_failover nat-failover
"""

ZSH = """#compdef nat-failover
# Completion of nat-failover for zsh. Made by `nat-failover completion zsh`.
local -a verbs
verbs=(
{verbs}
)
if (( CURRENT == 2 )); then
    _describe command verbs
    return
fi
case $words[2] in
{cases}
esac
"""


def script(shell: str, commands: t.Mapping[str, argparse.ArgumentParser]) -> str:
    """The completion script of ``bash`` or ``zsh``. ``commands``: name -> parser."""
    shown = {name: _words(command) for name, command in commands.items()}
    if shell == "bash":
        cases = [
            f'        {name}) COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$word")) ;;'
            for name, words in shown.items()
        ]
        return BASH.format(cases="\n".join(cases), verbs=" ".join(shown))
    verbs = [f"    '{name}:{_quoted(command.description or '')}'" for name, command in commands.items()]
    cases = [f"    {name}) compadd -- {' '.join(words)} ;;" for name, words in shown.items()]
    return ZSH.format(cases="\n".join(cases), verbs="\n".join(verbs))


def _words(command: argparse.ArgumentParser) -> list[str]:
    """The flags of a command, and the words that it takes."""
    flags = sorted(flag for flag in command._option_string_actions if flag.startswith("--"))
    words = [str(each) for action in command._actions if not action.option_strings for each in action.choices or ()]
    return words + flags


def _quoted(text: str) -> str:
    """A text within single quotes of zsh, where a colon ends the name of a command."""
    return text.replace("'", "").replace(":", ",")
