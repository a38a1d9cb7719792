# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows of a network load balancer that go on and that end, as the fabric is given them.

Sources: Network Load Balancer User Guide, "Health checks for Network Load Balancer target groups" and "Edit target group attributes";
AWS re:Post, the announcement of the state ``unhealthy.draining``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.api.balancer_attributes import CROSS_ZONE, DELAY, DRAIN_UNHEALTHY, END_FLOWS, RESET_UNHEALTHY
from lab.api.snapshot import Listener
from lab.running_api import running_api
from tests.integration.api.balanced_site import Answers, Site, serving, until

A, B = ("10.0.0.10", 3128), ("10.0.1.10", 3128)


class Flows(Site):
    """Both nodes are targets and healthy, cross-zone balancing is on."""

    def begin(self) -> None:
        self.group_arn, balancer = serving(self)
        pairs = [{"Key": CROSS_ZONE, "Value": "true"}]
        self.elb.modify_load_balancer_attributes(LoadBalancerArn=balancer, Attributes=pairs)
        self.register(self.group_arn, self.nodes[1])
        self.answers.good |= {A[0], B[0]}
        self.wait(targets={A, B})

    def set(self, **values: str) -> None:
        names = {"delay": DELAY, "end": END_FLOWS, "drain": DRAIN_UNHEALTHY, "reset": RESET_UNHEALTHY}
        pairs = [{"Key": names[key], "Value": value} for key, value in values.items()]
        self.elb.modify_target_group_attributes(TargetGroupArn=self.group_arn, Attributes=pairs)

    def now(self) -> Listener:
        [balancer] = self.api.api.snapshot().balancers
        return balancer.listeners[0]

    def wait(self, targets: set[tuple[str, int]], reset: set[tuple[str, int]] | None = None) -> None:
        def there() -> bool:
            self.check_now(self.group_arn)
            return set(self.now().targets) == targets and (reset is None or set(self.now().reset) == reset)

        until(there)


@pytest.fixture
def flows(one_loader: None) -> Iterator[Flows]:
    answers = Answers()
    with running_api(probe=answers) as api:
        made = Flows(api, answers)
        made.begin()
        yield made


def test_an_unhealthy_target_gets_no_flow_and_its_flows_end(flows: Flows) -> None:
    """Health checks: a packet on a client's connection with it draws a reset."""
    flows.answers.good.discard(A[0])
    flows.wait({B}, {A})
    flows.answers.good.add(A[0])
    flows.wait({A, B}, set())


def test_with_no_healthy_target_all_get_flows_and_none_end(flows: Flows) -> None:
    """Health checks: it fails open, and then resets nothing."""
    flows.answers.good.clear()
    flows.wait({A, B}, set())


def test_flows_of_an_unhealthy_target_go_on_if_wanted(flows: Flows) -> None:
    """Connection termination for unhealthy targets: off."""
    flows.set(reset="false")
    flows.answers.good.discard(A[0])
    flows.wait({B}, set())


def test_flows_of_an_unhealthy_target_end_after_its_draining_interval(flows: Flows) -> None:
    """Unhealthy draining interval: the target keeps its flows for so long, and then they are terminated."""
    flows.set(reset="false", drain="1")
    flows.answers.good.discard(A[0])
    flows.wait({B}, set())
    flows.wait({B}, {A})


@pytest.mark.parametrize(("end", "reset"), [("true", {A}), ("false", set())])
def test_flows_of_a_deregistered_target_end_after_the_delay_only_if_wanted(
    flows: Flows, end: str, reset: set[tuple[str, int]]
) -> None:
    """Deregistration delay: established flows go on during it; after it only connection termination ends them."""
    flows.set(delay="1", end=end)
    flows.elb.deregister_targets(TargetGroupArn=flows.group_arn, Targets=[{"Id": flows.nodes[0]}])
    flows.wait({B}, set())
    until(lambda: (flows.nodes[0], 3128) not in flows.states(flows.group_arn))
    flows.wait({B}, reset)
    flows.register(flows.group_arn, flows.nodes[0])
    flows.wait({A, B}, set())
