# SPDX-License-Identifier: GPL-3.0-or-later
"""Target groups: the health of a target from its registration to its end, and refusals."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.integration.api.balanced_site import Site, serving, settle, until


def test_a_target_is_unused_initial_healthy_unhealthy(site: Site) -> None:
    """TargetHealth, State and Reason."""
    group = site.group()
    site.register(group, site.nodes[0])
    key = (site.nodes[0], 3128)
    assert site.states(group) == {key: ("unused", "Target.NotInUse")}
    site.listener(site.balancer()["LoadBalancerArn"], group)
    assert site.states(group) == {key: ("initial", "Elb.InitialHealthChecking")}
    site.answers.good.add("10.0.0.10")
    settle(site, group, "healthy")
    assert site.states(group) == {key: ("healthy", None)}
    assert ("10.0.0.10", 3129) in {each[:2] for each in site.answers.asked}
    site.answers.good.clear()
    settle(site, group, "unhealthy")
    assert site.states(group) == {key: ("unhealthy", "Target.FailedHealthChecks")}


def test_a_target_that_never_passed_becomes_unhealthy(site: Site) -> None:
    group, _balancer = serving(site)
    settle(site, group, "unhealthy")


def test_checks_begin_an_interval_after_each_other(site: Site) -> None:
    """HealthCheckIntervalSeconds: the approximate time between health checks of an individual target."""
    serving(site)
    until(lambda: len(site.answers.asked) >= 2, 12)
    first, second = (at for _address, _port, at in site.answers.asked[:2])
    assert second - first > 4.5


def test_a_registration_takes_its_time_when_wanted(site: Site) -> None:
    """aws-load-balancer-controller#1834: AWS takes minutes. The reason is Elb.RegistrationInProgress (TargetHealth)."""
    site.api.control("balancer", {"registration_s": 60})
    site.answers.good.add("10.0.0.10")
    group, _balancer = serving(site)
    time.sleep(0.3)
    assert site.states(group) == {(site.nodes[0], 3128): ("initial", "Elb.RegistrationInProgress")}
    assert site.answers.asked == []
    site.api.control("balancer", {"registration_s": 0})
    settle(site, group, "healthy")


def test_a_verdict_reaches_the_packets_later_when_wanted(site: Site) -> None:
    """aws/containers-roadmap#470: new connections still reach an unhealthy target for a while."""
    site.answers.good.add("10.0.0.10")
    group, _balancer = serving(site)
    settle(site, group, "healthy")
    published = site.api.api.checks
    until(lambda: [each.state for each in published.published.values()] == ["healthy"])
    site.api.control("balancer", {"propagation_s": 60})
    site.answers.good.clear()
    settle(site, group, "unhealthy")
    time.sleep(0.3)
    assert [each.state for each in published.published.values()] == ["healthy"]


def test_a_stopped_target_is_unused(site: Site) -> None:
    """TargetHealth: Target.InvalidState, the target is in the stopped or terminated state."""
    group, _balancer = serving(site)
    site.api.client().stop_instances(InstanceIds=[site.nodes[0]])
    assert site.states(group) == {(site.nodes[0], 3128): ("unused", "Target.InvalidState")}


def test_a_target_in_a_zone_without_the_balancer_is_unused(site: Site) -> None:
    """TargetHealth: Target.NotInUse, or the target is in an Availability Zone that is not enabled."""
    group = site.group()
    site.listener(site.balancer(Subnets=site.subnets[:1])["LoadBalancerArn"], group)
    site.register(group, *site.nodes)
    states = site.states(group)
    assert states[site.nodes[0], 3128] == ("initial", "Elb.InitialHealthChecking")
    assert states[site.nodes[1], 3128] == ("unused", "Target.NotInUse")


def test_a_target_is_an_id_and_a_port(site: Site) -> None:
    """RegisterTargets: a target can be registered several times with different ports."""
    group = site.group()
    site.register(group, site.nodes[0])
    site.register(group, site.nodes[0], port=3130)
    assert set(site.states(group)) == {(site.nodes[0], 3128), (site.nodes[0], 3130)}
    site.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": site.nodes[0], "Port": 3130}])
    assert site.states(group)[site.nodes[0], 3128] == ("unused", "Target.NotInUse")
    assert site.states(group)[site.nodes[0], 3130] == ("draining", "Target.DeregistrationInProgress")


def test_a_deregistered_target_drains_for_the_delay_and_is_gone(site: Site) -> None:
    """TargetGroupAttribute, deregistration_delay.timeout_seconds; TargetHealth: draining."""
    group, _balancer = serving(site)
    delay = {"Key": "deregistration_delay.timeout_seconds", "Value": "1"}
    site.elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[delay])
    site.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": site.nodes[0]}])
    assert site.states(group) == {(site.nodes[0], 3128): ("draining", "Target.DeregistrationInProgress")}
    until(lambda: site.states(group) == {})
    asked = site.states(group, Targets=[{"Id": site.nodes[0], "Port": 3128}])
    assert asked == {(site.nodes[0], 3128): ("unused", "Target.NotRegistered")}


def test_a_draining_target_is_registered_again(site: Site) -> None:
    group, _balancer = serving(site)
    site.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": site.nodes[0]}])
    site.register(group, site.nodes[0])
    assert site.states(group)[site.nodes[0], 3128][0] == "initial"


def test_deregistering_a_target_that_is_not_there_succeeds(site: Site) -> None:
    """DeregisterTargets: "If the specified target does not exist, the action returns successfully"."""
    group = site.group()
    site.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": site.nodes[1]}])
    assert site.states(group) == {}


def test_an_unhealthy_target_drains_when_its_flows_are_to_go_on(site: Site) -> None:
    """TargetGroupAttribute, target_health_state.unhealthy.draining_interval_seconds: state unhealthy.draining until it is over."""
    group, _balancer = serving(site)
    wanted = {
        "target_health_state.unhealthy.connection_termination.enabled": "false",
        "target_health_state.unhealthy.draining_interval_seconds": "2",
    }
    site.elb.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": key, "Value": value} for key, value in wanted.items()]
    )
    settle(site, group, "unhealthy.draining")
    until(lambda: site.states(group)[site.nodes[0], 3128][0] == "unhealthy")


@pytest.mark.parametrize("target", ["i-0123456789abcdef0"])
def test_an_instance_that_is_not_there_is_refused(site: Site, refusal: Callable[..., str], target: str) -> None:
    """RegisterTargets: InvalidTarget."""
    group = site.group()
    assert "InvalidTarget" in refusal(site.elb.register_targets, TargetGroupArn=group, Targets=[{"Id": target}])
    assert site.states(group) == {}


def test_an_address_is_no_target_of_an_instance_group(site: Site, refusal: Callable[..., str]) -> None:
    """CreateTargetGroup, TargetType: instance targets are given by instance ID."""
    group = site.group()
    assert "InvalidTarget" in refusal(site.elb.register_targets, TargetGroupArn=group, Targets=[{"Id": "10.0.0.10"}])
