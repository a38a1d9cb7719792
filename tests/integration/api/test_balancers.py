# SPDX-License-Identifier: GPL-3.0-or-later
"""Network load balancers where plain moto differs from AWS.

Sources: Elastic Load Balancing API Reference, version 2015-12-01 (named by operation or type), and the Network Load Balancer User
Guide, "Health checks for Network Load Balancer target groups" and "Edit target group attributes". An error code's text is a guess.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.api.balanced_site import Site, serving, settle, until


def test_a_balancer_is_named_and_addressed_as_a_network_load_balancer(site: Site) -> None:
    """CreateLoadBalancer: ARN loadbalancer/net/NAME/ID; User Guide: one interface per subnet, "ELB net/NAME/ID"."""
    made = site.balancer()
    tail = made["LoadBalancerArn"].partition(":loadbalancer/")[2]
    assert tail.startswith("net/egress/")
    assert made["DNSName"] == f"egress-{tail.rpartition('/')[2]}.elb.eu-west-1.amazonaws.com"
    found = site.api.client().describe_network_interfaces(Filters=[{"Name": "description", "Values": [f"ELB {tail}"]}])[
        "NetworkInterfaces"
    ]
    assert {each["SubnetId"] for each in found} == set(site.subnets)
    assert all(each["RequesterManaged"] for each in found)
    site.elb.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])
    left = site.api.client().describe_network_interfaces()["NetworkInterfaces"]
    assert not [each for each in left if each["Description"].startswith("ELB ")]


def test_a_chosen_address_is_taken_and_shown(site: Site) -> None:
    """CreateLoadBalancer, SubnetMapping: PrivateIPv4Address."""
    made = site.balancer(SubnetMappings=[{"SubnetId": site.subnets[0], "PrivateIPv4Address": "10.0.10.77"}])
    [zone] = made["AvailabilityZones"]
    assert zone["LoadBalancerAddresses"] == [{"PrivateIPv4Address": "10.0.10.77"}]


def test_a_second_balancer_of_a_name_is_refused(site: Site, refusal: Callable[..., str]) -> None:
    """CreateLoadBalancer: DuplicateLoadBalancerName."""
    site.balancer()
    assert "DuplicateLoadBalancerName" in refusal(
        site.elb.create_load_balancer, Name="egress", Type="network", Subnets=site.subnets[:1]
    )


def test_tags_move_with_the_arn(site: Site) -> None:
    arn = site.balancer(Tags=[{"Key": "Owner", "Value": "lab"}])["LoadBalancerArn"]
    [found] = site.elb.describe_tags(ResourceArns=[arn])["TagDescriptions"]
    assert found["Tags"] == [{"Key": "Owner", "Value": "lab"}]


def test_attributes_have_their_defaults(site: Site) -> None:
    """TargetGroupAttribute, LoadBalancerAttribute, ListenerAttribute."""
    group, balancer = serving(site)
    found = site.elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
    values = {each["Key"]: each["Value"] for each in found}
    assert values["preserve_client_ip.enabled"] == "true"
    assert values["deregistration_delay.timeout_seconds"] == "300"
    assert values["target_health_state.unhealthy.connection_termination.enabled"] == "true"
    assert values["load_balancing.cross_zone.enabled"] == "use_load_balancer_configuration"
    assert "waf.fail_open.enabled" not in values
    found = site.elb.describe_load_balancer_attributes(LoadBalancerArn=balancer)["Attributes"]
    values = {each["Key"]: each["Value"] for each in found}
    assert values["load_balancing.cross_zone.enabled"] == "false"
    assert "routing.http2.enabled" not in values


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("no.such.attribute", "1", "not recognized"),
        ("waf.fail_open.enabled", "true", "not recognized"),
        ("deregistration_delay.timeout_seconds", "3601", "between '0-3600'"),
        ("preserve_client_ip.enabled", "perhaps", "must be one of"),
    ],
)
def test_a_wrong_attribute_of_a_group_is_refused(
    site: Site, refusal: Callable[..., str], key: str, value: str, says: str
) -> None:
    """ModifyTargetGroupAttributes."""
    group = site.group()
    attributes = [{"Key": key, "Value": value}]
    answer = refusal(site.elb.modify_target_group_attributes, TargetGroupArn=group, Attributes=attributes)
    assert says in answer


def test_an_unknown_attribute_of_a_balancer_or_a_listener_is_refused(site: Site, refusal: Callable[..., str]) -> None:
    """ModifyLoadBalancerAttributes, ModifyListenerAttributes."""
    group, arn = site.group(), site.balancer()["LoadBalancerArn"]
    listener = site.listener(arn, group)
    wrong = [{"Key": "idle_timeout.timeout_seconds", "Value": "60"}]  # an application load balancer's
    assert "not recognized" in refusal(site.elb.modify_load_balancer_attributes, LoadBalancerArn=arn, Attributes=wrong)
    assert "not recognized" in refusal(site.elb.modify_listener_attributes, ListenerArn=listener, Attributes=wrong)
    idle = [{"Key": "tcp.idle_timeout.seconds", "Value": "600"}]
    site.elb.modify_listener_attributes(ListenerArn=listener, Attributes=idle)


def test_the_default_matcher_is_that_of_a_network_load_balancer(site: Site) -> None:
    """Matcher, HttpCode: 200-399 for Network Load Balancers."""
    [group] = site.elb.describe_target_groups(TargetGroupArns=[site.group()])["TargetGroups"]
    assert group["Matcher"] == {"HttpCode": "200-399"}


def test_names_answer_with_zones_that_have_a_healthy_target(site: Site) -> None:
    """User Guide, "DNS failover": the address of a zone without a healthy target is taken out, unless no zone has one."""
    group, _balancer = serving(site)
    site.register(group, site.nodes[1])
    site.answers.good |= {"10.0.0.10", "10.0.1.10"}

    def answers() -> set[str]:
        site.check_now(group)
        [balancer] = site.api.api.snapshot().balancers
        return {zone for zone, address in balancer.addresses.items() if address in balancer.answers}

    settle(site, group, "healthy")
    until(lambda: answers() == {"eu-west-1a", "eu-west-1b"})
    site.answers.good.discard("10.0.0.10")
    until(lambda: answers() == {"eu-west-1b"})
    site.answers.good.clear()
    until(lambda: answers() == {"eu-west-1a", "eu-west-1b"})
