# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor loop of the AWS article of 2013, re-created from its published steps and times; none of its text is here.

Take the own route at start. Then, over and over: three pings with a second's patience; if none is answered, take the peer's route,
stop the peer, look every 60 s until it is stopped, start it, and wait 300 s. Otherwise pause 2 s. Nothing is checked or retried.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PINGS, PATIENCE_S, PAUSE_S, POLL_S, SETTLE_S = 3, 1, 2, 60, 300


class Monitor:
    """``plan``: own and peer's instance id and route table, the peer's address, the endpoint, and how to make a call."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        words = [*self.plan["call"], self.plan["endpoint"], operation, json.dumps(arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def take(self, table: str) -> None:
        self.call(
            "replace_route", RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", InstanceId=self.plan["own_instance"]
        )

    def peer_answers(self) -> bool:
        words = ["ping", "-n", "-q", "-c", str(PINGS), "-W", str(PATIENCE_S), self.plan["peer_address"]]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def peer_state(self) -> str:
        found = self.call("describe_instances", InstanceIds=[self.plan["peer_instance"]])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"]) if found else ""

    def recover(self) -> None:
        print(f"failed {time.monotonic():.6f}", flush=True)
        self.take(self.plan["peer_table"])
        self.call("stop_instances", InstanceIds=[self.plan["peer_instance"]])
        while self.peer_state() != "stopped":
            time.sleep(POLL_S)
        self.call("start_instances", InstanceIds=[self.plan["peer_instance"]])
        time.sleep(SETTLE_S)

    def run(self) -> None:
        self.take(self.plan["own_table"])
        print(f"ready {time.monotonic():.6f}", flush=True)
        while True:
            if self.peer_answers():
                time.sleep(PAUSE_S)
            else:
                self.recover()


if __name__ == "__main__":
    Monitor(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).run()
