# SPDX-License-Identifier: GPL-3.0-or-later
"""Network load balancers where plain moto differs from AWS.

Sources: Elastic Load Balancing API Reference, version 2015-12-01 (named by operation or type), and the Network Load Balancer User
Guide, "Health checks for Network Load Balancer target groups" and "Edit target group attributes". An error code's text is a guess.
"""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.api.health_checks import probe
from lab.api.target_health import Check
from lab.running_api import RunningApi, running_api


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


@pytest.fixture
def site(one_loader: None) -> Iterator[Site]:
    answers = Answers()
    with running_api(probe=answers) as api:
        yield Site(api, answers)


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


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(3.0 if self.path == "/slow" else 0.0)
        self.send_response(503 if self.path == "/drained" else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is http.server's
        """Nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()


@pytest.mark.parametrize(
    ("check", "passes"),
    [
        (Check("TCP"), True),
        (Check("HTTP", path="/healthz", codes="200"), True),
        (Check("HTTP", path="/drained"), False),
        (Check("HTTP", path="/drained", codes="200,500-599"), True),
        (Check("HTTP", path="/slow", timeout_s=0.5), False),
    ],
)
def test_a_health_check_takes_what_the_matcher_names_within_the_timeout(port: int, check: Check, passes: bool) -> None:
    assert probe("127.0.0.1", port, check) is passes


def test_a_health_check_of_a_closed_port_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    assert not probe("127.0.0.1", closed, Check("TCP", timeout_s=1))
