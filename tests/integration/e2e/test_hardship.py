# SPDX-License-Identifier: GPL-3.0-or-later
"""A death in bad times: an API that is slow, throttled, stale or loses answers, credentials that end, and strangers who send packets."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.api.imds import TTL_MAX_S
from nat_failover.wire.codec import REASONS
from tests.integration.e2e.cluster import Cluster, running_cluster

METADATA = ["OUTPUT", "-d", "169.254.169.254", "-j", "DROP"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all, with IAM enforced: each test leaves everything at home. Nobody is stopped, which other tests are about."""
    folder = tmp_path_factory.mktemp("hardship")
    with running_cluster(folder, settings={"mode": "route"}, enforce_iam=True) as running:
        yield running


def home_again(cluster: Cluster) -> None:
    cluster.lab.heal()
    cluster.settle()
    assert cluster.writes("StopInstances", "RebootInstances") == []


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "*", "delay_ms": 700},  # of the 1 s that a read may take
        {"action": "*", "burst": 3, "rate": 2},
        {"action": "Describe*", "stale_s": 2},
        {"action": "*", "error": "InternalError", "probability": 0.6},
        {"action": "ReplaceRoute", "drop": "after", "count": 3},  # written, and the answer lost
    ],
    ids=["slow", "throttled", "stale", "failing", "answers lost"],
)
def test_a_takeover_with_an_api_in_trouble(cluster: Cluster, fault: dict[str, Any]) -> None:
    lab = cluster.lab
    lab.fault("api", caller="nat-b", **fault)
    before = len(lab.calls(caller="nat-b"))
    with lab.stream("client-a") as stream:
        stream.wait_for_answer()
        lab.fault("kill", "nat-a")
        cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 30)
        stream.wait_for_answer()
        assert any(call.fault for call in lab.calls(caller="nat-b")[before:]), "it was in trouble"
        home_again(cluster)
        stream.wait_for_answer()
    assert lab.owner("b") == "nat-b"


def test_credentials_end_while_the_metadata_service_is_down(cluster: Cluster) -> None:
    lab, imds = cluster.lab, cluster.lab.imds("nat-b")
    lab.exec("nat-b", ["iptables", "-I", *METADATA])
    imds.drop_credentials()
    lab.control("expire", {"caller": "nat-b"})
    cluster.wait("it tells", lambda: "RequestExpired" in str(cluster.events("nat-b", "ec2")), 15)
    lab.fault("kill", "nat-a")
    time.sleep(3)
    assert lab.owner("a") == "nat-a" and cluster.verdict("nat-b", "nat-a") == "silent", "it cannot prove anything"
    imds.credential_lifetime_s = 5  # so that those of now end in the middle of it, too
    lab.exec("nat-b", ["iptables", "-D", *METADATA])
    cluster.wait("nat-b owns zone a", lambda: lab.owner("a") == "nat-b", 30)
    imds.credential_lifetime_s = TTL_MAX_S
    cluster.wait("they end again", lambda: cluster.status("nat-b")["self"]["ec2"] is False, 15)
    cluster.wait("and new ones come", lambda: cluster.status("nat-b")["self"]["ec2"] is True, 25)
    home_again(cluster)


# --- strangers ---------------------------------------------------------------------------------------------------------------------

RECORD = """
import socket, sys, time
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(0x0800))
wire.settimeout(0.2)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    try: packet = wire.recv(2000)
    except OSError: continue
    head = (packet[0] & 15) * 4
    if packet[9] == 17 and packet[head + 2:head + 4] == (4710).to_bytes(2, "big"): print(packet[head + 8:].hex())
"""

SEND = """
import random, socket, sys, time
source, target, count, rng = sys.argv[1], sys.argv[2], int(sys.argv[3]), random.Random(7)
recorded = [bytes.fromhex(line) for line in sys.stdin]
def spoiled():
    data = bytearray(rng.choice(recorded))
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)
kinds = [lambda: rng.choice(recorded), lambda: rng.randbytes(rng.randrange(1300)), spoiled,
         lambda: rng.choice(recorded)[:rng.randrange(1, 60)]]
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if source != "-": wire.bind((source, 4710))
for number in range(count):
    wire.sendto(rng.choice(kinds)(), (target, 4710))
    if number % 20 == 19: time.sleep(0.004)
"""


def refused(cluster: Cluster, node: str) -> Counter[str]:
    counters = cluster.status(node)["counters"]
    return Counter({reason: counters.get(reason, 0) for reason in REASONS})


def overrun(cluster: Cluster, node: str) -> int:
    """Datagrams that the kernel had no room for; they reached nobody."""
    names, values = (
        line.split()[1:]
        for line in cluster.lab.exec(node, ["cat", "/proc/net/snmp"]).stdout.splitlines()
        if line.startswith("Udp:")
    )
    return int(dict(zip(names, values, strict=True))["RcvbufErrors"])


def test_recorded_spoofed_truncated_and_garbled_heartbeats_are_counted_and_change_nothing(cluster: Cluster) -> None:
    """Packets from a foreign address do not reach the service. Those in the name of the peer do."""
    lab, count = cluster.lab, 4000
    recorded = lab.exec("nat-b", [sys.executable, "-c", RECORD, "1.5"]).stdout
    assert len(recorded.splitlines()) > 10
    spoofed = lab.ids.zones["a"].private_ip
    lab.exec("client-b", ["ip", "address", "add", f"{spoofed}/32", "dev", "lo"])  # to send in nat-a's name
    before, lost, told = refused(cluster, "nat-b"), overrun(cluster, "nat-b"), events(cluster)
    writes = cluster.writes()
    try:
        for source in ("-", spoofed):
            arguments = [sys.executable, "-c", SEND, source, lab.ids.zones["b"].private_ip, str(count)]
            lab.exec("client-b", arguments, input=recorded)
    finally:
        lab.exec("client-b", ["ip", "address", "del", f"{spoofed}/32", "dev", "lo"])

    def all_counted() -> bool:
        moved = refused(cluster, "nat-b") - before
        return sum(moved.values()) + overrun(cluster, "nat-b") - lost >= count

    cluster.wait("each is counted", all_counted, 10)
    moved = refused(cluster, "nat-b") - before
    assert {"malformed", "bad_mac", "replayed"} <= set(moved) and count / 2 < sum(moved.values()) < 1.2 * count, moved
    assert cluster.verdict("nat-b", "nat-a") == cluster.verdict("nat-a", "nat-b") == "healthy"
    assert events(cluster) == told and cluster.writes() == writes, "nothing has come of it"
    assert cluster.service("nat-b").poll() is None


def events(cluster: Cluster) -> list[str]:
    return [text for kind in ("verdict", "adopt", "return", "mend") for text in cluster.events("nat-b", kind)]


def test_the_log_of_the_services_has_no_traceback(cluster: Cluster) -> None:
    """Last: whatever happened above was foreseen."""
    log = Path(cluster.log).read_text(encoding="utf-8")
    assert "Traceback" not in log, log[log.index("Traceback") - 2000 :][:6000]
