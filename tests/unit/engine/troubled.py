# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose peers, heartbeats and routes have problems, and what its status says."""

from __future__ import annotations

from dataclasses import replace

from nat_failover.model.cluster import RouteView
from nat_failover.model.evidence import Heard, Report
from nat_failover.service import problems
from nat_failover.service.evidence import gather

from .standing import NOW


def peer(parts, **changes):
    peers = {name: replace(each, **changes) for name, each in parts.memory.peers.items()}
    parts.memory = replace(parts.memory, peers=peers)


def hear(parts, monkeypatch, **report):
    heard = {"nat-b": Heard(heartbeat_at=NOW - 0.25, report=Report(forwarding=True, **report))}
    monkeypatch.setattr(parts.transport, "heard", lambda: heard)


def route(parts, claim, state="active", target="eni-nat-b", read_at=NOW):
    parts.collector.reader.routes[claim] = RouteView(state, target, read_at)


def find(parts):
    return problems.find(parts, gather(parts, NOW))


def codes(parts):
    return [each.code for each in find(parts)]
