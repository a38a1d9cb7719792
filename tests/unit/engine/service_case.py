# SPDX-License-Identifier: GPL-3.0-or-later
"""A settled cluster with claims that depend on a service, and what differs from it."""

from __future__ import annotations

from dataclasses import replace

from nat_failover.model.cluster import RouteView
from nat_failover.model.memory import ServiceMemory
from nat_failover.policy import services

from .policy_case import FINE, ME, NOW, PEER, Case

VIP = "100.64.99.1/32"
SERVICE = {"name": "proxy", "file": "/run/verdict.json", "destinations": [VIP]}
UNWELL = frozenset({"proxy"})
ILL = replace(FINE, unwell=UNWELL)
AFTER, HOLD = 30.0, services.HOLD


def cluster(names=(ME, PEER), **changes):
    case = Case(names, destinations=["0.0.0.0/0", VIP], services=[SERVICE], **changes)
    case.memory = replace(case.memory, services={"proxy": ServiceMemory(NOW - 500)})
    return case


def reports(case, report, name=PEER):
    case.heard[name] = replace(case.heard[name], report=report)


def own(case, unwell):
    case.me = replace(case.me, unwell=UNWELL if unwell else frozenset())


def point(case, home, node, destination=VIP, state="active"):
    claim = next(each for each in case.config.claims if (each.home, each.destination) == (home, destination))
    case.routes[claim] = RouteView(state, "eni-" + node, NOW)


def moves(case):
    return [(action.kind, action.claim.home, action.claim.destination) for action in case.decide().routes]


def since(case, seconds, failures=1):
    case.memory = replace(case.memory, services={"proxy": ServiceMemory(NOW - seconds, failures)})
