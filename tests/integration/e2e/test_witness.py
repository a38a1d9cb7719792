# SPDX-License-Identifier: GPL-3.0-or-later
"""A third opinion: a node that only watches, and a table in DynamoDB."""

from __future__ import annotations

import time
from pathlib import Path

from tests.integration.e2e.cluster import running_cluster

LONG = 14.0  # seconds: beyond both nodes' fence delay (5 s and 5 s more for the second in rank)


def test_a_node_that_only_watches_makes_a_partition_known(tmp_path: Path) -> None:
    with running_cluster(tmp_path, zones=("a", "b", "c"), witnesses=["nat-c"]) as cluster:
        lab = cluster.lab
        assert cluster.status("nat-c")["summary"] == "witness; nat-a healthy, nat-b healthy"
        refused = cluster.run("nat-c", "drain")
        assert refused.returncode == 1 and "owns nothing" in refused.stderr
        refused = cluster.run("nat-c", "rules", "apply")
        assert refused.returncode == 1 and "NATs nothing" in refused.stderr

        # No flare can help here: only the witness knows that both live.
        lab.fault("api", action="CreateTags", error="InternalError")
        lab.fault("cut", "nat-a", peer="nat-b", direction="both")
        cluster.wait("nat-a knows", lambda: cluster.verdict("nat-a", "nat-b") == "partitioned", 5)
        cluster.wait("nat-b knows", lambda: cluster.verdict("nat-b", "nat-a") == "partitioned", 5)
        assert "nat-c hears it" in next(
            row["evidence"] for row in cluster.status("nat-a")["verdicts"] if row["peer"] == "nat-b"
        )
        time.sleep(LONG)
        assert cluster.writes() == [], "no route has moved, nobody was stopped"
        lab.heal()
        lab.clear_faults()
        cluster.settle()

        lab.fault("kill", "nat-a")
        cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 5)
        assert {call.action for call in lab.calls(caller="nat-c", writes=True)} == set(), "a witness writes nothing"
