# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to the service of this node, and its answer."""

from __future__ import annotations

import argparse
import typing as t

from ..config import load as configuration
from ..errors import NoAnswer, UsageError
from ..model.settings import Config
from ..service import sender
from .words import unknown

NO_SERVICE = "the service does not run here; start it with `systemctl start nat-failover`"
Answer = dict[str, t.Any]


def ask(arguments: argparse.Namespace, request: t.Mapping[str, t.Any], timeout: float = 10.0) -> Answer:
    """The answer. Raises ``NoAnswer`` without a service, ``NatFailoverError`` for a refusal."""
    return ask_by(configuration.load(arguments.config), request, timeout)


def ask_by(config: Config, request: t.Mapping[str, t.Any], timeout: float = 10.0) -> Answer:
    """The same with a configuration that was read already."""
    answer = sender.send_request(config.runtime_directory, request, timeout)
    if answer is None:
        raise NoAnswer(f"{NO_SERVICE}, or read `journalctl -u nat-failover`")
    return answer


def require_table(status: t.Mapping[str, t.Any], table: str) -> None:
    """Refuse a route table that no claim of the cluster is on."""
    known = {row["route_table"] for row in status["claims"]}
    if table not in known:
        raise unknown("route table", table, known)


def require_peer(status: t.Mapping[str, t.Any], name: str) -> None:
    """Refuse a name that is no peer."""
    if name == status["node"]:
        raise UsageError(f"{name} is this node; name a peer")
    known = {row["peer"] for row in status["verdicts"]}
    if name not in known:
        raise unknown("peer", name, known)
