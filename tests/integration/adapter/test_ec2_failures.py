# SPDX-License-Identifier: GPL-3.0-or-later
"""How calls fail: each failure has a code, says whether to try again, names action and resource, and gives a remedy."""

from __future__ import annotations

import json
import threading
import time

import pytest

from lab.api import backend
from nat_failover.aws import client
from nat_failover.aws.ec2 import Ec2
from nat_failover.model.cluster import ROUTE_ACTIVE
from tests.integration.adapter.ec2_error import failure

HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"


# --- the answer is lost, or late -------------------------------------------------------------------------------------------------


def test_a_write_whose_answer_was_lost_is_found_done_by_the_re_read(world):
    world.api.fault("ReplaceRoute", drop="after", count=1)
    view = world.set_route(world.claim("b"), world.interface("a"))
    assert (view.state, view.target) == (ROUTE_ACTIVE, world.interface("a"))
    assert len(world.api.calls(action="ReplaceRoute")) == 1  # never sent twice by itself


def test_a_write_that_never_arrived_is_not_taken_for_done(world):
    world.api.fault("ReplaceRoute", drop="before", count=1)
    assert world.set_route(world.claim("b"), world.interface("a")).target == world.interface("b")


def test_a_write_that_is_applied_after_we_gave_up(api, connect):
    world = connect(api, read_timeout=0.2)
    world.api.fault("ReplaceRoute", delay_ms=600, count=1)
    began = time.monotonic()
    view = world.set_route(world.claim("b"), world.interface("a"))
    assert view.target == world.interface("b")  # what EC2 says now, which is not a "no" ...
    assert time.monotonic() - began < 0.6
    end = time.monotonic() + 5
    while world.api.target(world.claim("b").route_table) != world.interface("a"):  # ... and the late write comes
        assert time.monotonic() < end
        time.sleep(0.01)


def test_when_the_re_read_fails_too_the_first_failure_is_told(world):
    world.api.fault("ReplaceRoute", drop="after", count=1)
    world.api.fault("DescribeRouteTables", error="RequestLimitExceeded")
    error = failure(world.set_route, world.claim("b"), world.interface("a"))
    assert (error.action, error.code, error.retryable) == ("ec2:ReplaceRoute", "EndpointUnreachable", True)


def test_a_write_that_cannot_be_re_read_is_not_done(world):
    world.api.fault("DescribeRouteTables", error="RequestLimitExceeded")
    error = failure(world.set_route, world.claim("b"), world.interface("a"))
    assert (error.action, error.code) == ("ec2:DescribeRouteTables", "RequestLimitExceeded")


def test_a_create_whose_answer_was_lost(world):
    world.api.client().delete_route(RouteTableId=world.claim().route_table, DestinationCidrBlock="0.0.0.0/0")
    world.api.fault("CreateRoute", drop="after", count=1)
    assert world.set_route(world.claim(), world.interface("a")).target == world.interface("a")


def test_a_stale_read_is_returned_as_read(world):
    # EC2 is eventually consistent: the re-read may still show the old target. The caller must look again, not believe.
    world.api.fault("DescribeRouteTables", stale_s=60)
    assert world.set_route(world.claim("b"), world.interface("a")).target == world.interface("b")
    world.api.clear_faults()
    assert world.ec2.describe_routes([world.claim("b")])[world.claim("b")].target == world.interface("a")


@pytest.mark.parametrize("body, status", [(HTML, 502), ("<html/>", 503), (HTML, 200), ("", 200), ("<Desc", 200)])
def test_an_answer_that_cannot_be_read(world, body, status):
    world.api.fault("DescribeRouteTables", body=body, status=status)
    error = failure(world.ec2.describe_routes, world.claims)
    assert (error.action, error.code, error.retryable) == ("ec2:DescribeRouteTables", "BadAnswer", True)


def test_an_unreadable_answer_to_a_write_is_not_a_no(world):
    world.api.fault("ReplaceRoute", body=HTML, status=200, count=1)
    assert world.set_route(world.claim("b"), world.interface("a")).target == world.interface("b")


# --- EC2 says no, or later ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, retryable",
    [
        ("RequestLimitExceeded", True),
        ("Throttling", True),
        ("InternalError", True),
        ("Unavailable", True),
        ("ServiceUnavailable", True),
        ("IncorrectInstanceState", True),
        ("RequestExpired", True),
        ("OperationNotPermitted", False),
        ("AuthFailure", False),
        ("UnauthorizedOperation", False),
        ("OptInRequired", False),
    ],
)
def test_codes(world, code, retryable):
    world.api.fault("StopInstances", error=code, message="As AWS says it.")
    error = failure(world.ec2.stop, world.instance("b"))
    assert (error.code, error.retryable, error.resource) == (code, retryable, f"instance {world.instance('b')}")
    assert str(error).startswith(f"ec2:StopInstances on instance {world.instance('b')}: As AWS says it ({code})")
    assert len(world.api.calls(action="StopInstances")) == 1  # botocore repeats nothing


def test_throttled_by_a_token_bucket(world):
    world.api.fault("DescribeInstances", burst=2, rate=0)
    for _turn in range(2):
        world.instances(world.nodes)
    assert failure(world.instances, world.nodes).code == "RequestLimitExceeded"


def test_denied_names_action_and_resource(iam, connect):
    world = connect(iam)
    with iam.api.lock:
        backend.iam().delete_role_policy("lab-nat-a", "nat-failover")
    error = failure(world.set_route, world.claim(), world.interface("a"))
    assert (error.code, error.retryable) == ("UnauthorizedOperation", False)
    assert f"allow ec2:ReplaceRoute on route-table {world.claim().route_table} " in error.remedy
    error = failure(world.ec2.describe_routes, world.claims)
    assert "allow ec2:DescribeRouteTables on * in the IAM policy" in error.remedy  # reading knows no narrower resource


def test_the_source_dest_check_that_may_not_be_switched_names_the_interface(iam, connect):
    world = connect(iam)
    reading = {"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"}
    with iam.api.lock:
        document = json.dumps({"Version": "2012-10-17", "Statement": [reading]})
        backend.iam().put_role_policy("lab-nat-a", "nat-failover", document)
    error = failure(world.ec2.set_source_dest_check, world.instance("a"), False)
    assert f"allow ec2:ModifyNetworkInterfaceAttribute on network-interface {world.interface('a')} " in error.remedy


def test_a_node_may_write_what_its_policy_names(iam, connect):
    world = connect(iam)
    assert world.set_route(world.claim("b"), world.interface("a")).target == world.interface("a")
    world.ec2.set_tag(world.instance("a"), "nat-failover:flare", "boot:1")
    assert {call.caller for call in iam.calls()} == {"nat-a"}


def test_expired_credentials(iam, connect):
    world = connect(iam)
    iam.control("expire", {"caller": "nat-a"})
    error = failure(world.ec2.describe_routes, world.claims)
    assert (error.code, error.retryable) == ("RequestExpired", True)  # botocore renews a role's by itself
    assert "clock" in error.remedy


def give(monkeypatch, iam, node="nat-a"):
    for name, value in iam.credentials(node).items():
        monkeypatch.setenv(name.upper(), value)


def test_new_credentials_are_found_when_the_old_ones_have_expired(iam, connect, monkeypatch):
    world = connect(iam)
    assert world.ec2.describe_routes(world.claims)
    iam.control("expire", {"caller": "nat-a"})
    give(monkeypatch, iam)
    assert failure(world.ec2.describe_routes, world.claims).code == "RequestExpired"
    assert world.ec2.describe_routes(world.claims), "the very next call"


def test_credentials_that_come_late_are_found_without_a_restart(iam, monkeypatch):
    late = Ec2(iam.api.region, iam.endpoint)  # at boot, say, before the metadata service answers
    assert failure(late.describe_homes, "lab").code == "NoCredentials"
    monkeypatch.setattr(client, "RENEW_EVERY", 0.0)
    assert failure(late.describe_homes, "lab").code == "NoCredentials"
    give(monkeypatch, iam)
    assert failure(late.describe_homes, "lab").code == "NoCredentials"
    assert late.describe_homes("lab") == {}


def test_clients_are_not_made_in_a_rush(iam, connect, monkeypatch):
    world = connect(iam)
    made = []
    monkeypatch.setattr(world.ec2._aws, "_connect", lambda: made.append(1) or (world.ec2._aws.client, True))
    iam.control("expire", {"caller": "nat-a"})
    for _turn in range(5):
        assert failure(world.ec2.describe_routes, world.claims).code == "RequestExpired"
    assert made == [1]


def test_wrong_credentials(iam, connect, monkeypatch):
    connect(iam)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    error = failure(Ec2(iam.api.region, iam.endpoint).stop, "i-0fffffffffffffff0")
    assert (error.code, error.retryable) == ("AuthFailure", False)
    assert "check this instance's role and the clock" in error.remedy


# --- threads -------------------------------------------------------------------------------------------------------------------------


def test_many_threads_share_one_adapter(world):
    failures = []

    def work(zone):
        try:
            for target in ("a", "b") * 3:
                assert world.set_route(world.claim(zone), world.interface(target)).target == world.interface(target)
        except Exception as error:  # of whatever kind, for the assertion below
            failures.append(error)

    # Each thread has a claim of its own, as the writers of the service have.
    threads = [threading.Thread(target=work, args=(zone,)) for zone in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
