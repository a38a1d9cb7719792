# SPDX-License-Identifier: GPL-3.0-or-later
"""Text from outside reaches journal, history, status and peers without a control character."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat_failover import cli
from nat_failover.aws import client, ec2_mapping, witness_table
from nat_failover.errors import ConfigError, Ec2Error, NatFailoverError
from nat_failover.model.text import plain
from nat_failover.policy import interruption
from nat_failover.service import sender, status
from nat_failover.service.events import EventLog
from nat_failover.wire import codec

from .played import PlayedRuntime
from .standing import RAW, standing

FORGED = "x\n<5>route: return rtb-FORGED\x1b]0;TITLE\x07\x1b[31m\u009b31m\u2028\u202e"
TEXT = st.text() | st.just(FORGED)


def harmless(text):
    """Nothing in it starts a new line, steers a terminal or turns text around."""
    return not any(unicodedata.category(each) in ("Cc", "Zl", "Zp") or each in "\u202a\u202e\u2066" for each in text)


@given(TEXT)
def test_plain_text_is_harmless_and_all_else_stays(text):
    assert harmless(plain(text)) and len(plain(text)) == len(text)
    assert (
        plain(text) == text
        or not harmless(text)
        or any(each in text for each in "\u202b\u202c\u202d\u2067\u2068\u2069")
    )


@given(TEXT)
def test_no_error_holds_a_control_character(text):
    """AWS sends the code of a refusal, a file the name of an unknown key."""
    failed = Ec2Error("ec2:StopInstances", "i-1", text, "Not now.", retryable=False)
    unknown = ConfigError(f"fence.{text}", 1, "is unknown", "known here: after_s")
    for error in (NatFailoverError(text), failed, unknown):
        assert harmless(str(error))


@pytest.mark.parametrize(
    ("association", "address"), [({"Association": {"PublicIp": "203.0.113.11"}}, "203.0.113.11"), ({}, "")]
)
def test_the_public_address_is_that_of_the_primary_interface(association, address):
    interfaces = [
        {"NetworkInterfaceId": "eni-2", "Attachment": {"DeviceIndex": 1}, "Association": {"PublicIp": "203.0.113.99"}},
        {"Attachment": {"DeviceIndex": 0}, **association},
    ]
    instance = {"InstanceId": "i-1", "State": {"Name": "running"}, "NetworkInterfaces": interfaces}
    assert ec2_mapping.instance_view(instance, 1.0).public_address == address


def test_the_addresses_of_further_interfaces_are_known_as_theirs():
    rows = [{"PrivateIpAddress": "10.0.0.10"}, {"PrivateIpAddress": "10.0.0.20"}]
    interfaces = [
        {"NetworkInterfaceId": "eni-2", "Attachment": {"DeviceIndex": 1}, "PrivateIpAddress": "10.0.0.99"},
        {"NetworkInterfaceId": "eni-1", "PrivateIpAddress": "10.0.0.10", "PrivateIpAddresses": rows},
    ]
    instance = {"InstanceId": "i-1", "State": {"Name": "running"}, "NetworkInterfaces": interfaces}
    view = ec2_mapping.instance_view({**instance, "PrivateIpAddress": "10.0.0.10"}, 1.0)
    assert view.addresses == ("10.0.0.10", "10.0.0.99", "10.0.0.20")
    assert view.further_addresses == ("10.0.0.99",) and view.further_interfaces == ("eni-2",)


def test_what_ec2_shows_of_instances_and_routes_holds_no_control_character():
    interface = {
        "NetworkInterfaceId": "eni-" + FORGED,
        "PrivateIpAddress": FORGED,
        "Ipv6Addresses": [{"Ipv6Address": FORGED}],
    }
    instance = {"InstanceId": "i-" + FORGED, "State": {"Name": FORGED}, "NetworkInterfaces": [interface]}
    placed = {**instance, "VpcId": FORGED, "LaunchTime": FORGED, "Placement": {"AvailabilityZone": FORGED}}
    view = ec2_mapping.instance_view(placed, 1.0)
    shown = [
        view.state,
        view.interface_id,
        view.address,
        view.instance_id,
        view.availability_zone,
        view.vpc_id,
        view.created,
    ]
    assert all(each and harmless(each) for each in (*shown, *view.ipv6_addresses))
    route = {"DestinationCidrBlock": "0.0.0.0/0", "State": FORGED, "NetworkInterfaceId": FORGED}
    seen = ec2_mapping.route_view([route], "0.0.0.0/0", 1.0)
    assert seen.target and harmless(seen.state) and harmless(seen.target)


def test_the_holder_of_the_fence_lock_is_shown_without_control_characters_and_its_value_stays():
    row = {"item": {"S": "fence"}, "holder": {"S": FORGED}, "peer": {"S": FORGED}, "value": {"S": FORGED}}
    holder, peer, value = witness_table._contents([row]).lock
    assert harmless(holder) and harmless(peer)
    assert value == FORGED, "the write that takes the lock is conditional on the value that was read"


@given(TEXT)
def test_no_event_holds_a_control_character(text):
    events = EventLog(PlayedRuntime())
    events.emit("verdict", text)
    assert harmless(events.events[0]["text"])


@given(TEXT)
def test_neither_tags_nor_errors_nor_interruptions_hold_one(text):
    tags = ec2_mapping.tags({"Tags": [{"Key": "nat-failover:drained", "Value": text}, {"Key": text, "Value": "x"}]})
    assert all(map(harmless, [*tags, *tags.values()]))
    assert harmless(client.line(text))
    answers = {interruption.SPOT: '{"action": "stop", "time": "x"}', interruption.AUTOSCALING: text}
    assert all(harmless(each.text) for each in interruption.read(answers))


@given(TEXT)
def test_what_a_peer_reports_holds_none(text):
    sender, receiver = (codec.Codec([b"k" * 32], "prod", name) for name in ("nat-b", "nat-a"))
    report = codec.Report("active", False, text[:60], {"nat-c": "healthy"})
    packet = receiver.decode(sender.encode("b", "0" * 16, 1, "", 0, report, "nat-a"))
    assert isinstance(packet, codec.Packet) and packet.report is not None and harmless(packet.report.fact)


@pytest.mark.parametrize("key", ["summary", "witness"])
def test_the_command_writes_none(key, monkeypatch, tmp_path, capsys):
    found = status.status(standing())
    found["verdicts"][0].update(reports=FORGED, state=FORGED, evidence=FORGED)
    found["problems"] = [{"code": FORGED, "level": "critical", "text": FORGED, "do": FORGED, "since_s": 1.0}]
    found[key] = FORGED
    monkeypatch.setattr(sender, "send_request", lambda *_request: found)
    (tmp_path / "config.json").write_text(json.dumps(RAW))
    for flags in (["--all"], ["--brief"], []):
        cli.main(["status", *flags, "--config", str(tmp_path / "config.json")], lambda *_command, **_how: (0, "", ""))
    text = capsys.readouterr().out
    assert "FORGED" in text and all(map(harmless, text.splitlines())) and "\x1b" not in text
