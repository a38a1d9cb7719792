# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that a node exports, with a sample of every metric."""

from __future__ import annotations

import json

from nat_failover.model.cluster import AddressView
from nat_failover.service.status import status
from nat_failover.web import metrics
from nat_failover.web.exposition import Family
from nat_failover.web.process import own_family
from nat_failover.web.snapshot import Snapshot
from tests.unit.engine.standing import ELASTIC, MOVING, NOW, SERVED, standing

AT = 1_700_000_000.0


def families() -> list[Family]:
    """Every family that the exporter knows, each with samples. A metric that this misses fails the tests."""
    parts = standing(**SERVED, **MOVING)
    parts.collector.reader.elastic.views = {ELASTIC: AddressView("203.0.113.11", "eni-nat-b", "10.0.1.20", NOW)}
    parts.transport.counters.update({"sent": 7, "received": 5, "bad_mac": 3, "send_error_101": 2})
    parts.events.emit("adopt", "rtb-0000000b", ms=640.0)
    seen = json.loads(json.dumps(status(parts)))
    seen["self"]["facts"] = {"conntrack": "12.5 % full", "pps_allowance_exceeded": 4}
    seen["identities"][0]["state"] = "resume"
    seen["verdicts"][0].update(heartbeat_ms_ago=40, hears_me=True)
    seen["problems"] = [{"code": "away", "level": "degraded"}]
    return [*metrics.families(Snapshot(seen, "", AT)), own_family({})]
