# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The refusals of the engine in the words of the role: its variables and hosts instead of the keys
of a file.
"""

from __future__ import annotations

import re
import typing as t

from ...module_utils.nat_failover.config import load
from ...module_utils.nat_failover.errors import ConfigError
from .plan import SECTIONS

# Keys of the configuration file that have other names than the variables of the role.
PREFIX = "nat_instance_"
VARIABLES = {"imds.users": "imds_users", "input.allow": "input_allow"}
RENAMED = {"self": "name", "key_file": "heartbeat_key", "nodes": "group"}
_SECTIONS = {section: name for name, section in SECTIONS.items()}
_OF_A_NODE = re.compile(r"\bnodes\[(\d*)\]\.(\w+)")
_IN_A_SECTION = re.compile(r"(?<![\w.])({})\.([*a-z]\w*)(?![-\w]|\.\w)".format("|".join(_SECTIONS)))
_OF_A_SERVICE = re.compile(r"(?<![\w.])services\[")
_FIRST = re.compile(r"^((?:nat-failover: )?)([a-z_0-9]+): ")


def config_problem(config: t.Mapping[str, t.Any], hosts: t.Sequence[str]) -> str:
    """The objection of the engine to a configuration, in one line; empty: none.

    ``hosts`` are those of its nodes.
    """
    try:
        load.parse(dict(config))
    except ConfigError as error:
        return in_role_words(str(error), hosts)
    return ""


def key_problem(text: str) -> str:
    """The objection of the engine to heartbeat keys, in one line without any key; empty: none."""
    try:
        load.parse_keys(text)
    except ValueError as error:
        return f"nat_instance_heartbeat_key: {error}; use e.g. the output of `openssl rand -hex 32`, kept in a vault"
    return ""


def in_role_words(line: str, hosts: t.Sequence[str]) -> str:
    """An error of the engine with the role's variables instead of the configuration's keys."""

    def of_a_node(match: re.Match[str]) -> str:
        index, key = match.groups()
        variable = f"nat_instance_{key}"
        return f"{variable} of {hosts[int(index)]}" if index and int(index) < len(hosts) else variable

    def first(match: re.Match[str]) -> str:
        before, key = match.groups()
        if key in ("config", "nat-failover") or key.startswith(PREFIX):
            return match.group()
        return f"{before}nat_instance_{RENAMED.get(key, key)}: "

    for key, variable in VARIABLES.items():
        line = re.sub(rf"(?<![\w.]){re.escape(key)}(?![-\w])", f"{PREFIX}{variable}", line)
    line = _FIRST.sub(first, line)
    line = _OF_A_NODE.sub(of_a_node, line)
    line = _OF_A_SERVICE.sub("nat_instance_services[", line)
    return _IN_A_SECTION.sub(lambda match: f"nat_instance_{_SECTIONS[match.group(1)]}.{match.group(2)}", line)
