# SPDX-License-Identifier: GPL-3.0-or-later
"""A load balancer of the API with targets that answer as a test says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lab.api.target_health import Check
from lab.running_api import RunningApi


class Answers:
    """The result of a health check of each address."""

    def __init__(self) -> None:
        self.good: set[str] = set()
        self.asked: list[tuple[str, int, float]] = []

    def __call__(self, address: str, port: int, _check: Check) -> bool:
        self.asked.append((address, port, time.monotonic()))
        return address in self.good


class Site:
    """A balancer in both private subnets, a target group, a listener."""

    def __init__(self, api: RunningApi, answers: Answers) -> None:
        self.api, self.answers = api, answers
        self.elb = api.client("elbv2")
        self.zones = api.ids.zones
        self.subnets = [zone.private_subnet for zone in self.zones.values()]
        self.nodes = [zone.instance_id for zone in self.zones.values()]

    def group(self, name: str = "proxy", **options: Any) -> str:
        wanted = {"Protocol": "TCP", "Port": 3128, "VpcId": self.api.ids.vpc, "TargetType": "instance"}
        wanted |= {"HealthCheckProtocol": "HTTP", "HealthCheckPort": "3129", "HealthCheckPath": "/healthz"}
        wanted |= {"HealthCheckIntervalSeconds": 5, "HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2}
        made = self.elb.create_target_group(Name=name, HealthCheckTimeoutSeconds=2, **{**wanted, **options})
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    def balancer(self, name: str = "egress", **options: Any) -> dict[str, Any]:
        options = options if "SubnetMappings" in options else {"Subnets": self.subnets, **options}
        made = self.elb.create_load_balancer(Name=name, Type="network", Scheme="internal", **options)
        return dict(made["LoadBalancers"][0])

    def listener(self, balancer: str, group: str, port: int = 3128) -> str:
        actions = [{"Type": "forward", "TargetGroupArn": group}]
        made = self.elb.create_listener(LoadBalancerArn=balancer, Protocol="TCP", Port=port, DefaultActions=actions)
        return str(made["Listeners"][0]["ListenerArn"])

    def register(self, group: str, *nodes: str, port: int | None = None) -> None:
        extra = {} if port is None else {"Port": port}
        self.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": node, **extra} for node in nodes])

    def states(self, group: str, **wanted: Any) -> dict[tuple[str, int], tuple[str, str | None]]:
        found = self.elb.describe_target_health(TargetGroupArn=group, **wanted)["TargetHealthDescriptions"]
        return {
            (each["Target"]["Id"], each["Target"]["Port"]): (
                each["TargetHealth"]["State"],
                each["TargetHealth"].get("Reason"),
            )
            for each in found
        }

    def check_now(self, group: str) -> None:
        """Let the next check of each target come at once, in place of waiting five seconds."""
        with self.api.api.lock:
            for target in self.api.api.balancers.target_groups[group].lab_targets.values():
                target.next_check = 0.0


def until(true: Callable[[], bool], limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def serving(site: Site) -> tuple[str, str]:
    """A balancer with a listener, and node a registered."""
    group, balancer = site.group(), site.balancer()["LoadBalancerArn"]
    site.listener(balancer, group)
    site.register(group, site.nodes[0])
    return group, balancer


def settle(site: Site, group: str, state: str) -> None:
    """Have checks until node a is in a state."""

    def there() -> bool:
        site.check_now(group)
        return site.states(group)[site.nodes[0], 3128][0] == state

    until(there)
