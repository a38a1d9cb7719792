# SPDX-License-Identifier: GPL-3.0-or-later
"""source_dest_check: check, real, idempotent, diff, failure."""

from __future__ import annotations

import os

import pytest

WHO = {"instance_id": "i-0aaaaaaaaaaaaaaaa", "region": "eu-west-1"}


class FakeEc2:
    """One instance's flag; ``deaf`` accepts a write and forgets it."""

    def __init__(self, errors):
        self.enabled, self.deaf, self.writes, self.made_with, self.errors = True, False, 0, None, errors

    def __call__(self, region, endpoint_url, **timeouts):
        self.made_with = (region, endpoint_url)
        return self

    def source_dest_check(self, instance_id):
        if instance_id != WHO["instance_id"]:
            raise self.errors.NatFailoverError("there is no such instance")
        return self.enabled

    def set_source_dest_check(self, instance_id, enabled):
        self.writes += 1
        if not self.deaf:
            self.enabled = enabled


@pytest.fixture
def ec2(load, monkeypatch):
    fake = FakeEc2(load("module_utils.nat_failover.errors"))
    monkeypatch.setattr(load("modules.source_dest_check"), "Ec2", fake)
    return fake


def test_check_mode_predicts(run, ec2):
    result = run("source_dest_check", check=True, **WHO)
    assert (result["changed"], result["enabled"], ec2.writes) == (True, False, 0)
    assert result["diff"] == {"before": {"source_dest_check": True}, "after": {"source_dest_check": False}}


def test_switches_off_once(run, ec2):
    assert run("source_dest_check", **WHO)["changed"]
    result = run("source_dest_check", **WHO)
    assert (result["changed"], result["enabled"], ec2.writes) == (False, False, 1)


def test_switches_on_again(run, ec2):
    ec2.enabled = False
    result = run("source_dest_check", enabled=True, **WHO)
    assert (result["changed"], result["enabled"]) == (True, True)


def test_a_write_that_is_not_seen_afterwards_is_a_failure(run, ec2):
    ec2.deaf = True
    result = run("source_dest_check", **WHO)
    assert result["failed"]
    assert "still says True" in result["msg"]


def test_the_engine_s_errors_are_the_message(run, ec2):
    result = run("source_dest_check", instance_id="i-0bbbbbbbbbbbbbbbb", region="eu-west-1")
    assert result["failed"]
    assert result["msg"] == "there is no such instance"


@pytest.mark.parametrize(
    ("given", "used"), [({}, None), ({"endpoint_url": ""}, None), ({"endpoint_url": "http://e"}, "http://e")]
)
def test_endpoint(run, ec2, given, used):
    run("source_dest_check", **WHO, **given)
    assert ec2.made_with == ("eu-west-1", used)


def test_what_must_be_given(run):
    assert "instance_id, region" in run("source_dest_check")["msg"]


def test_credentials_are_handed_to_boto3_and_win_over_the_environment(run, ec2, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-shell")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-shell")
    given = {"access_key": "AKIAEXAMPLE", "secret_key": "s3cret", "aws_ca_bundle": "/etc/ca.pem"}
    seen = {}
    monkeypatch.setattr(type(ec2), "source_dest_check", lambda self, _id: seen.update(os.environ) or False)
    monkeypatch.setenv("AWS_CA_BUNDLE", "")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    assert not run("source_dest_check", **WHO, **given)["changed"]
    assert (seen["AWS_ACCESS_KEY_ID"], seen["AWS_SECRET_ACCESS_KEY"]) == ("AKIAEXAMPLE", "s3cret")
    assert seen["AWS_CA_BUNDLE"] == "/etc/ca.pem" and "AWS_SESSION_TOKEN" not in seen


def test_a_profile_is_not_hidden_by_keys_of_the_environment(run, ec2, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-shell")
    monkeypatch.setenv("AWS_PROFILE", "")
    seen = {}
    monkeypatch.setattr(type(ec2), "source_dest_check", lambda self, _id: seen.update(os.environ) or False)
    run("source_dest_check", **WHO, profile="prod")
    assert seen["AWS_PROFILE"] == "prod" and "AWS_ACCESS_KEY_ID" not in seen


def test_half_a_key_or_two_kinds_of_credentials_are_refused(run):
    assert "secret_key" in run("source_dest_check", **WHO, access_key="AKIAEXAMPLE")["msg"]
    both = {"profile": "prod", "access_key": "AKIAEXAMPLE", "secret_key": "s3cret"}
    assert "mutually exclusive" in run("source_dest_check", **WHO, **both)["msg"]
