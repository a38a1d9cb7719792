# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated input for each parser of the engine: the valid form first, then bytes that are changed at random."""

from __future__ import annotations

import json
import os
import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import botocore.awsrequest

from nat_failover.aws.client import Connection
from nat_failover.aws.ec2 import Ec2
from nat_failover.aws.witness_table import Table
from nat_failover.config import load
from nat_failover.errors import ConfigError, Ec2Error, WitnessError
from nat_failover.model.cluster import ACTIVE, Claim, Node
from nat_failover.model.evidence import Report
from nat_failover.policy import interruption
from nat_failover.wire import codec

INTERESTING = (
    b"\x00", b"\x1b[31m", b"\r\n<5>", b"\xff\xfe", b"\xc2\x9b", b"9" * 40, b"-1", b"1e999", b"null", b"[]", b"{}", b'""',
    b"<", b"</item>", b"&#27;", b"&bogus;", b"true", b"NaN", b"\xed\xa0\x80", b"[" * 3000, b"eni-", b"2026-99-99T99:99:99Z",
)  # fmt: skip


VALUE = re.compile(rb">[^<>]+<|: *\"[^\"]*\"|: *-?\d+")  # of XML and of JSON


def _place(rng: random.Random, data: bytes) -> tuple[int, int]:
    """Where to change something: a value, so that the form stays and the parser gets far, or anywhere."""
    values = list(VALUE.finditer(data)) if rng.random() < 0.5 else []
    if values:
        start, end = rng.choice(values).span()
        return start + 1, end - 1 if data[end - 1 : end] in (b"<", b'"') else end
    at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return at, min(end, at + rng.choice((1, 4, 16, 64, len(data))))


def mutated(rng: random.Random, data: bytes) -> bytes:
    """One to three changes: bits, pieces that are cut, doubled, moved or replaced."""
    for _number in range(rng.choice((1, 1, 2, 3))):
        at, end = _place(rng, data)
        piece = data[at:end]
        what = rng.randrange(6)
        if what == 0 and piece:
            piece = bytes([piece[0] ^ 1 << rng.randrange(8)]) + piece[1:]
        elif what == 1:
            piece = b""
        elif what == 2:
            piece = piece * 2
        elif what == 3:
            piece = rng.choice(INTERESTING)
        elif what == 4:
            piece = rng.randbytes(len(piece))
        else:
            piece = piece + rng.choice(INTERESTING)
        data = data[:at] + piece + data[end:]
        if not data:
            return b""
    return data


@dataclass(frozen=True)
class Parser:
    """``valid``: what is mutated. ``read``: the parser, which returns what goes on to logs and status.

    ``expected``: the errors that it may raise. ``understood``: whether a result of a valid input is the right one.
    """

    valid: tuple[bytes, ...]
    read: Callable[[bytes], Any]
    expected: tuple[type[Exception], ...]
    understood: Callable[[Any], bool]


# --- AWS on the wire -------------------------------------------------------------------------------------------------

_XML = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'
INSTANCES = f"""<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse {_XML}><requestId>r-1</requestId><reservationSet><item><reservationId>r-1</reservationId>
<ownerId>1</ownerId><instancesSet><item><instanceId>i-0123456789abcdef0</instanceId>
<instanceState><code>16</code><name>running</name></instanceState><privateIpAddress>10.0.0.10</privateIpAddress>
<launchTime>2026-01-31T12:00:00.000Z</launchTime><sourceDestCheck>false</sourceDestCheck>
<placement><availabilityZone>eu-west-1a</availabilityZone></placement>
<networkInterfaceSet><item><networkInterfaceId>eni-0123456789abcdef0</networkInterfaceId><sourceDestCheck>false
</sourceDestCheck><privateIpAddress>10.0.0.10</privateIpAddress><attachment><attachmentId>eni-attach-1</attachmentId>
<deviceIndex>0</deviceIndex><status>attached</status></attachment></item></networkInterfaceSet>
<tagSet><item><key>nat-failover:cluster</key><value>prod</value></item><item><key>nat-failover:flare</key>
<value>1:2:3</value></item></tagSet></item></instancesSet></item></reservationSet></DescribeInstancesResponse>"""
TABLES = f"""<?xml version="1.0" encoding="UTF-8"?>
<DescribeRouteTablesResponse {_XML}><requestId>r-1</requestId><routeTableSet><item>
<routeTableId>rtb-0123456789abcdef0</routeTableId><vpcId>vpc-1</vpcId><routeSet><item>
<destinationCidrBlock>10.0.0.0/16</destinationCidrBlock><gatewayId>local</gatewayId><state>active</state>
<origin>CreateRouteTable</origin></item><item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>
<networkInterfaceId>eni-0123456789abcdef0</networkInterfaceId><instanceId>i-0123456789abcdef0</instanceId>
<state>active</state><origin>CreateRoute</origin></item></routeSet><associationSet/><tagSet><item>
<key>nat-failover:cluster</key><value>prod</value></item><item><key>nat-failover:home</key><value>nat-a</value></item>
</tagSet></item></routeTableSet></DescribeRouteTablesResponse>"""
REFUSAL = b"""<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized.</Message></Error></Errors>
<RequestID>r-1</RequestID></Response>"""
ITEMS = json.dumps(
    {
        "Items": [
            {"cluster": {"S": "prod"}, "item": {"S": "node/i-0123456789abcdef0"}, "value": {"S": "1:2:3"}},
            {"cluster": {"S": "prod"}, "item": {"S": "fence"}, "holder": {"S": "nat-a"}, "peer": {"S": "nat-b"},
             "value": {"S": "nat-a:7"}},
        ],
        "Count": 2, "ScannedCount": 2,
    }
).encode()  # fmt: skip


CREDENTIALS = {"AWS_ACCESS_KEY_ID": "of-nobody", "AWS_SECRET_ACCESS_KEY": "of-nobody"}  # they sign what never leaves


class Wire:
    """A boto3 client whose HTTP answers are made here: botocore's parsers read them, no packet leaves this host."""

    def __init__(self, service: str) -> None:
        with mock.patch.dict(os.environ, CREDENTIALS):
            self.connection = Connection(service, "eu-west-1", "http://127.0.0.1:9", 1.0, 1.0, pool=1)
        self.body, self.status = b"", 200
        self.connection.client.meta.events.register(f"before-send.{service}", self._answer)
        self._type = "text/xml" if service == "ec2" else "application/x-amz-json-1.0"

    def _answer(self, request: Any, **_more: Any) -> Any:
        headers = {"content-type": self._type, "content-length": str(len(self.body))}
        answer = botocore.awsrequest.AWSResponse(request.url, self.status, headers, None)
        answer._content = self.body
        return answer

    def give(self, body: bytes) -> None:
        """The next answer. A body that says Errors comes with the status of one."""
        self.body, self.status = body, 400 if b"<Errors" in body else 200


def _ec2() -> Parser:
    wire = Wire("ec2")
    ec2 = Ec2("eu-west-1", connection=wire.connection)
    nodes = [Node("nat-a", "i-0123456789abcdef0", ())]
    claims = [Claim("rtb-0123456789abcdef0", "0.0.0.0/0", "nat-a")]

    def read(body: bytes) -> Any:
        wire.give(body)
        if b"Instances" in body[:200]:
            return ec2.find_instances(nodes, "prod")
        return ec2.describe_routes(claims), ec2.describe_homes("prod")

    def understood(found: Any) -> bool:
        if isinstance(found, dict):
            return bool(found["i-0123456789abcdef0"].interface_id == "eni-0123456789abcdef0")
        routes, homes = found
        return bool(routes[claims[0]].target and homes == {"rtb-0123456789abcdef0": "nat-a"})

    return Parser((INSTANCES.encode(), TABLES.encode(), REFUSAL), read, (Ec2Error,), understood)


def _dynamodb() -> Parser:
    wire = Wire("dynamodb")
    table = Table("witness", "prod", "eu-west-1", connection=wire.connection)

    def read(body: bytes) -> Any:
        wire.give(body)
        found = table.read()
        # Values are compared and written back, and never shown.
        return list(found.lock[:2]) if found.lock else []

    return Parser((ITEMS,), read, (WitnessError,), lambda found: found == ["nat-a", "nat-b"])


# --- the rest --------------------------------------------------------------------------------------------------------

_EVENT = {
    "Code": "system-reboot", "EventId": "instance-event-1", "State": "active", "Description": "scheduled reboot",
    "NotBefore": "31 Jan 2026 12:00:00 GMT", "NotAfter": "31 Jan 2026 14:00:00 GMT",
}  # fmt: skip
BODIES = {
    "spot": b'{"action": "terminate", "time": "2026-01-31T12:00:00Z"}',
    "autoscaling": b"Terminated",
    "rebalance": b'{"noticeTime": "2026-01-31T12:00:00Z"}',
    "scheduled": json.dumps([_EVENT]).encode(),
}
CONFIG = {
    "cluster": "prod", "self": "nat-a", "region": "eu-west-1", "interface": "ens5", "key_file": "/etc/key",
    "sources": ["10.0.0.0/16", "fd00::/8"], "mode": "full",
    "nodes": [
        {"name": "nat-a", "instance_id": "i-0123456789abcdef0", "route_tables": ["rtb-0123456789abcdef0"]},
        {"name": "nat-b", "instance_id": "i-0123456789abcdef1", "route_tables": ["rtb-0123456789abcdef1"]},
    ],
    "profile": "default", "heartbeat": {"port": 4710}, "return": {"policy": "auto", "after_s": 30, "max_s": 1800},
    "fence": {"policy": "stop_start", "after_s": 30, "max_per_hour": 2}, "self_check": {"targets": ["1.1.1.1:443"]},
    "canary": {"enabled": True}, "handover": {"on_stop": "keep"}, "ec2": {"poll_s": 5},
}  # fmt: skip
KEY, BOOT, PEER_BOOT = b"k" * 32, "aa" * 8, "bb" * 8


def _imds() -> Parser:
    kinds = {body: kind for kind, body in BODIES.items()}

    def read(body: bytes) -> Any:
        # A body that IMDS could send is text. The kind is that of the body it was made from, or any.
        kind = kinds.get(body) or list(BODIES)[len(body) % len(BODIES)]
        return [each.text for each in interruption.read({kind: body.decode("utf-8", "replace")})]

    return Parser(tuple(BODIES.values()), read, (), lambda found: bool(found) and "not understood" not in found[0])


def _configuration() -> Parser:
    return Parser(
        (json.dumps(CONFIG).encode(),),
        lambda body: repr(load._parsed("/etc/config.json", body)),
        (ConfigError,),
        lambda found: "nat-b" in found,
    )


def _heartbeat() -> Parser:
    """A heartbeat whose body is mutated *before* it is signed: what a node that was taken over could send."""
    sender, reader = codec.Codec(KEY, "prod", "nat-b"), codec.Codec(KEY, "prod", "nat-a")
    report = Report(ACTIVE, False, "ip_forward=0", {"nat-a": "healthy"}, 7)
    packet = sender.encode(codec.BEAT, PEER_BOOT, 7, BOOT, 3, report, "nat-a")
    header, body = packet[: codec.HEADER.size], packet[codec.HEADER.size : -codec.DIGEST]

    def read(data: bytes) -> Any:
        signed = header + data
        found = reader.decode(signed + codec.hmac.digest(KEY, signed, "sha256"))
        told = getattr(found, "report", None)
        return found if told is None else [told.state, told.fact, *told.views, *told.views.values()]

    return Parser((body,), read, (), lambda found: "ip_forward=0" in found)


PARSERS: dict[str, Callable[[], Parser]] = {
    "heartbeat": _heartbeat,
    "IMDS": _imds,
    "EC2": _ec2,
    "DynamoDB": _dynamodb,
    "configuration": _configuration,
}


def attack(name: str, count: int, seed: str) -> dict[str, int]:
    """How many inputs were given, and how many did something else than what the engine foresees.

    Unexpected is an exception that the caller does not catch, or a control character in what comes back.
    """
    parser, rng = PARSERS[name](), random.Random(seed)
    for body in parser.valid:
        _check(parser, body)
    unexpected = refused = 0
    for _number in range(count):
        outcome = _try(parser, mutated(rng, rng.choice(parser.valid)))
        refused += outcome == "refused"
        unexpected += outcome == "unexpected"
    return {"fuzzed": count, "refused": refused, "unexpected": unexpected}


def _check(parser: Parser, body: bytes) -> None:
    """Raise if a valid input is not understood: then nothing would be measured."""
    try:
        good = parser.understood(parser.read(body))
    except parser.expected as error:
        good = "UnauthorizedOperation" in str(error)
    if not good:
        raise RuntimeError(f"a valid input is not understood: {body[:80]!r}")


def _try(parser: Parser, body: bytes) -> str:
    try:
        found: Any = parser.read(body)
        outcome = "read"
    except parser.expected as error:
        found, outcome = str(error), "refused"
    except Exception:  # pylint: disable=broad-except
        return "unexpected"
    return "unexpected" if any(_controls(text) for text in _texts(found)) else outcome


def _controls(text: str) -> bool:
    return any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text)


def _texts(found: Any) -> Iterator[str]:
    """All text in a result. Lines of a multi-line error of the configuration are texts of their own."""
    if isinstance(found, str):
        yield from found.split("\n")
    elif isinstance(found, dict):
        for key, value in found.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(found, (list, tuple, set, frozenset)):
        for each in found:
            yield from _texts(each)
    elif hasattr(found, "__dict__"):
        yield from _texts(vars(found))
