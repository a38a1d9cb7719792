# SPDX-License-Identifier: GPL-3.0-or-later
"""The heartbeat transport: real UDP between two nodes on the loopback network, and its counters, without a single sleep for luck."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.model.evidence import Heard, Report
from nat_failover.runtime import real
from nat_failover.wire.codec import Codec, new_boot_id
from nat_failover.wire.icmp import ECHO
from nat_failover.wire.transport import GREET_EVERY, HeartbeatTransport

KEY = b"k" * 32
ADDRESS = {"nat-a": "127.0.0.11", "nat-b": "127.0.0.12"}
ACTIVE = Report("active", True, "", {})
WITHIN = 5.0  # seconds; a slow machine makes these tests slow, not red


class Clock(real.AsyncioRuntime):
    """Real sockets, and a clock that a test sets."""

    def __init__(self):
        super().__init__()
        self.seconds = 100.0

    def now(self):
        return self.seconds


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def node(name, port, clock, key=KEY, cluster="prod", boot=None):
    made = HeartbeatTransport(
        Codec(key, cluster, name),
        clock,
        self_name=name,
        boot_id=boot or new_boot_id(),
        port=port,
        bind=ADDRESS[name],
    )
    made.set_peers(ADDRESS)
    made.set_report(ACTIVE)
    return made


async def until(condition):
    """Let the sockets work until it is so."""
    end = asyncio.get_running_loop().time() + WITHIN
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"not within {WITHIN} s"
        await asyncio.sleep(0.001)


@pytest.fixture
def no_icmp(monkeypatch):
    """As on a host that permits no ping: UDP alone decides what a test sees."""
    monkeypatch.setattr(real, "open_icmp_socket", lambda bind: None)


@contextlib.asynccontextmanager
async def pair(clock, **of_b):
    port = free_port()
    a, b = node("nat-a", port, clock), node("nat-b", port, clock, **of_b)
    await a.open()
    await b.open()
    try:
        yield a, b
    finally:
        a.close()
        b.close()


async def bind(a, b):
    """Both know each other's boot id."""
    a.probe("nat-b")
    await until(lambda: a.heard()["nat-b"].heartbeat_at and b.heard()["nat-a"].heartbeat_at)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 30))


# --- two nodes -----------------------------------------------------------------------------------------------------------------


def test_two_nodes_find_each_other(no_icmp):
    async def scenario():
        clock = Clock()
        async with pair(clock) as (a, b):
            assert a.heard()["nat-b"] == Heard()
            await bind(a, b)
            clock.seconds = 101.5
            b.set_report(Report("draining", False, "uplink down", {"nat-a": "healthy"}))
            b.beat("nat-a")
            await until(lambda: a.heard()["nat-b"].heartbeat_at == 101.5)
            heard = a.heard()["nat-b"]
            assert heard.report == Report("draining", False, "uplink down", {"nat-a": "healthy"})
            assert (heard.boot_id, heard.unanswered, heard.icmp_at) == (b.boot_id, 0, None)

    run(scenario())


def test_a_heartbeat_is_not_answered_a_probe_is(no_icmp):
    async def scenario():
        async with pair(Clock()) as (a, b):
            await bind(a, b)
            await settled(a, b)
            sent = b.counters["sent"]
            a.beat("nat-b")
            a.beat("nat-b")
            await settled(a, b)
            assert b.counters["sent"] == sent
            a.probe("nat-b")
            await settled(a, b)
            assert b.counters["sent"] == sent + 1

    run(scenario())


async def settled(a, b):
    """No packet is on its way any more: all that was sent has been taken, or counted as refused."""
    refused = ("bad_mac", "malformed", "wrong_cluster", "not_for_me", "unknown_sender", "replayed", "unbound", "late")

    def taken(node):
        return sum(node.counters[name] for name in ("received", *refused))

    await until(lambda: a.counters["sent"] == taken(b) and b.counters["sent"] == taken(a))


def test_probes_count_as_unanswered_until_anything_is_heard(no_icmp):
    async def scenario():
        clock = Clock()
        async with pair(clock) as (a, b):
            await bind(a, b)
            await settled(a, b)
            b.set_peers({"nat-c": ADDRESS["nat-a"]})  # deaf to this node
            for _turn in range(3):
                a.probe("nat-b")
            assert a.heard()["nat-b"].unanswered == 3
            await until(lambda: b.counters["unknown_sender"] == 3)

    run(scenario())


def test_a_changed_report_and_life_after_suspicion_wake_the_loop(no_icmp):
    async def scenario():
        woken = []
        async with pair(Clock()) as (a, b):
            a.wake = lambda: woken.append(True)
            await bind(a, b)
            await settled(a, b)
            assert len(woken) == 1
            b.beat("nat-a")  # nothing has changed
            await settled(a, b)
            assert len(woken) == 1
            b.set_report(Report("active", False, "ip_forward=0", {}))
            b.beat("nat-a")
            await settled(a, b)
            assert len(woken) == 2
            a.probe("nat-b")  # suspicion ...
            await settled(a, b)  # ... and an answer
            assert len(woken) == 3

    run(scenario())


def test_a_restarted_peer_is_heard_again_at_once(no_icmp):
    async def scenario():
        clock = Clock()
        async with pair(clock) as (a, b):
            await bind(a, b)
            b.close()
            again = node("nat-b", b._port, clock)
            await again.open()
            try:
                clock.seconds += 10
                again.beat("nat-a")  # unbound: a probes back, and the answer binds
                await until(lambda: a.heard()["nat-b"].boot_id == again.boot_id)
                assert a.counters["unbound"] >= 1
            finally:
                again.close()

    run(scenario())


# --- nothing that is not authentic and fresh counts -------------------------------------------------------------------------------


@pytest.fixture
def bound():
    """nat-a with nat-b bound, without sockets; and what nat-b would send."""
    clock = Clock()
    a = node("nat-a", 1, clock)
    b = node("nat-b", 1, clock)
    peer = a._peers["nat-b"]
    seq = peer.session.next_seq(clock.seconds)
    a.take(b.codec.encode("b", b.boot_id, 10, a.boot_id, seq, ACTIVE, "nat-a"))
    assert a.heard()["nat-b"].heartbeat_at == 100.0
    clock.seconds = 200.0
    return a, b


@pytest.mark.parametrize(
    "reason, forge",
    [
        ("malformed", lambda a, b: b"hello"),
        ("malformed", lambda a, b: beat(a, b)[:-1] * 20),
        ("bad_mac", lambda a, b: beat(a, b)[:-1] + b"\0"),
        ("bad_mac", lambda a, b: beat(a, b, codec=Codec(b"x" * 32, "prod", "nat-b"))),
        ("wrong_cluster", lambda a, b: beat(a, b, codec=Codec(KEY, "test", "nat-b"))),
        ("not_for_me", lambda a, b: beat(a, b, to="nat-c")),
        ("not_for_me", lambda a, b: beat(a, b, codec=a.codec, to="nat-b")),
        ("unknown_sender", lambda a, b: beat(a, b, codec=Codec(KEY, "prod", "nat-z"))),
        ("replayed", lambda a, b: beat(a, b, seq=10)),
        ("replayed", lambda a, b: beat(a, b, seq=9)),
        ("unbound", lambda a, b: beat(a, b, boot="cc" * 8)),
        ("late", lambda a, b: beat(a, b, boot="cc" * 8, echo=(a.boot_id, 1))),
    ],
)
def test_a_refused_packet_moves_one_counter_and_nothing_else(bound, reason, forge):
    a, b = bound
    before, called = a.heard(), []
    a.wake, a.on_packet = lambda: called.append("wake"), called.append
    counted = dict(a.counters)
    a.take(forge(a, b))
    assert a.heard() == before
    assert called == []
    assert {name: a.counters[name] - counted.get(name, 0) for name in a.counters} == {
        **dict.fromkeys(counted, 0),
        reason: 1,
    }


def test_a_packet_that_changes_nothing_counts_and_wakes_nothing(bound):
    a, b = bound
    woken, packets = [], []
    a.take(beat(a, b, seq=11))
    a.wake, a.on_packet = lambda: woken.append(True), packets.append
    a.take(beat(a, b, seq=12))
    assert (woken, packets) == ([], ["nat-b"])
    assert a.heartbeats() == {"nat-b": a.heard()["nat-b"].heartbeat_at}


def beat(a, b, codec=None, boot=None, seq=11, echo=("", 0), to="nat-a"):
    return (codec or b.codec).encode("b", boot or b.boot_id, seq, *echo, ACTIVE, to)


def test_life_without_a_report_yet_is_no_heartbeat(bound):
    # A reborn peer's bare probe binds; judging it by the report of its last life would be wrong.
    a, b = bound
    reborn = "cc" * 8
    seq = a._peers["nat-b"].session.next_seq(200.0)
    a.take(b.codec.encode("p", reborn, 1, a.boot_id, seq, None, "nat-a"))
    assert a.heard()["nat-b"].boot_id == reborn
    assert a.heard()["nat-b"].heartbeat_at == 100.0
    a.take(b.codec.encode("b", reborn, 2, "", 0, ACTIVE, "nat-a"))
    assert a.heard()["nat-b"].heartbeat_at == 200.0


class Sent:
    """A socket that keeps what is sent, or fails."""

    def __init__(self, error=None):
        self.packets, self._error = [], error

    def send(self, data, address, port):
        if self._error:
            raise OSError(self._error, "no")
        self.packets.append((data, (address, port)))


def test_a_forger_gains_no_amplifier(bound):
    a, b = bound
    a._udp = Sent()
    a.set_report(Report("active", False, "x" * 200, {}))
    replayed = beat(a, b, boot="cc" * 8)
    for _turn in range(50):
        a.take(replayed, "192.0.2.66")
    [(data, (address, port))] = (
        a._udp.packets
    )  # one in GREET_EVERY, to the configured address, no longer than what came
    assert (address, port) == ("127.0.0.12", 1)
    assert len(data) <= len(replayed)
    a._runtime.seconds += GREET_EVERY
    a.take(replayed, "192.0.2.66")
    assert len(a._udp.packets) == 2


def test_a_new_key_takes_over_without_a_lost_peer(bound):
    a, b = bound
    new = b"n" * 32
    a.codec = Codec((new, KEY), "prod", "nat-a")
    a.take(beat(a, b, seq=11))
    a.take(beat(a, b, codec=Codec((new, KEY), "prod", "nat-b"), seq=12))
    assert a.counters["received"] == 3
    a.codec = Codec(new, "prod", "nat-a")
    a.take(beat(a, b, seq=13))
    assert a.counters["bad_mac"] == 1


# --- peers ---------------------------------------------------------------------------------------------------------------------


def test_a_peer_that_moved_keeps_its_session(bound):
    a, _b = bound
    before = a.heard()["nat-b"]
    a.set_peers({"nat-b": "10.9.9.9"})
    a._udp = Sent()
    a.beat("nat-b")
    assert a._udp.packets[0][1][0] == "10.9.9.9"
    assert a.heard()["nat-b"] == before


def test_a_peer_that_is_gone_is_forgotten(bound):
    a, _b = bound
    a.set_peers({})
    assert a.heard() == {}
    for send in (a.beat, a.probe, a.ping):
        send("nat-b")  # nothing happens
    a.set_peers(ADDRESS)
    assert a.heard() == {"nat-b": Heard()}


def test_nobody_is_their_own_peer():
    a = node("nat-a", 1, Clock())
    assert list(a.heard()) == ["nat-b"]


# --- sockets -------------------------------------------------------------------------------------------------------------------


def test_a_taken_port_is_one_clear_error(no_icmp):
    async def scenario():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((ADDRESS["nat-a"], 0))
            port = taken.getsockname()[1]
            with pytest.raises(NatFailoverError, match=f"heartbeat.port: UDP 127.0.0.11:{port} cannot be bound"):
                await node("nat-a", port, Clock()).open()

    run(scenario())


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EPERM, errno.ENOBUFS])
def test_send_errors_are_counted_never_raised(code):
    a = node("nat-a", 1, Clock())
    a._udp = a._icmp = Sent(error=code)
    a.beat("nat-b")
    a.probe("nat-b")
    assert a.counters == {f"send_error_{code}": 3}
    assert a.heard()["nat-b"].unanswered == 0  # what never left cannot be unanswered


def test_an_icmp_error_of_the_network_is_counted(no_icmp):
    # Nobody listens at nat-b: the kernel answers "port unreachable", which a connected socket would raise.
    async def scenario():
        a = node("nat-a", free_port(), Clock())
        await a.open()
        try:
            for _turn in range(3):
                a.probe("nat-b")
                await asyncio.sleep(0)
            assert a.heard()["nat-b"].unanswered == 3
        finally:
            a.close()

    run(scenario())


def test_closing_twice_is_harmless(no_icmp):
    async def scenario():
        a = node("nat-a", free_port(), Clock())
        await a.open()
        a.close()
        a.close()
        a.beat("nat-b")
        assert a.counters["sent"] == 0

    run(scenario())


def test_a_flood_does_not_stop_the_loop(no_icmp, monkeypatch):
    monkeypatch.setattr(real, "AT_ONCE", 8)

    async def scenario():
        async with pair(Clock()) as (a, b):
            await bind(a, b)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
                flood.bind((ADDRESS["nat-b"], 0))  # a foreign address does not get through to the process
                for _turn in range(20):
                    flood.sendto(b"x", (ADDRESS["nat-a"], a._port))
            for taken in (8, 16, 20):
                a._udp._drain()  # one wake-up
                assert a.counters["malformed"] == taken

    run(scenario())


# --- the source filter ------------------------------------------------------------------------------------------------


FOREIGN = "127.0.0.66"


def sender(address):
    """A socket of another host, or in the name of one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock


def test_the_kernel_drops_what_comes_from_no_peer(no_icmp):
    async def scenario():
        async with pair(Clock()) as (a, b):
            with sender(FOREIGN) as foreign, sender(ADDRESS["nat-b"]) as near:
                for _turn in range(100):
                    foreign.sendto(b"x", (ADDRESS["nat-a"], a._port))
                near.sendto(b"x", (ADDRESS["nat-a"], a._port))
                await until(lambda: a.counters["malformed"])
            await bind(a, b)
            assert a.counters["malformed"] == 1 and a.admission.filtered

    run(scenario())


def test_the_filter_follows_the_peers(no_icmp):
    async def scenario():
        async with pair(Clock()) as (a, _b):
            with sender(FOREIGN) as moved, sender(ADDRESS["nat-b"]) as before:
                a.set_peers({**ADDRESS, "nat-b": FOREIGN})
                before.sendto(b"x", (ADDRESS["nat-a"], a._port))
                moved.sendto(b"x", (ADDRESS["nat-a"], a._port))
                await until(lambda: a.counters["malformed"])
                await asyncio.sleep(0)
                assert a.counters["malformed"] == 1
                a.set_peers({**ADDRESS, "nat-b": FOREIGN, "nat-c": ADDRESS["nat-b"]})
                before.sendto(b"x", (ADDRESS["nat-a"], a._port))
                await until(lambda: a.counters["malformed"] == 2)

    run(scenario())


def test_foreign_packets_pass_for_a_moment_so_that_impostors_are_noticed(no_icmp):
    async def scenario():
        async with pair(Clock()) as (a, _b):
            a.set_origins({"nat-b": (ADDRESS["nat-b"],)})
            strangers = []
            a.on_stranger = lambda name, address: strangers.append((name, address))
            clone = Codec(KEY, "prod", "nat-b").encode("b", new_boot_id(), 1, "", 0, ACTIVE, "nat-a")
            with sender(FOREIGN) as foreign:
                foreign.sendto(clone, (ADDRESS["nat-a"], a._port))
                a.admission.sample()
                a.admission.sample()  # while one lasts
                foreign.sendto(clone, (ADDRESS["nat-a"], a._port))
                await until(lambda: strangers)
                await until(lambda: not a.admission.sampling)
                foreign.sendto(clone, (ADDRESS["nat-a"], a._port))
            await bind(a, _b)
            assert strangers == [("nat-b", FOREIGN)]

    run(scenario())


def test_a_full_queue_of_foreign_packets_keeps_no_heartbeat_out(no_icmp):
    """Without the filter the kernel's queue, of some 250 packets, would be full of them."""

    async def scenario():
        async with pair(Clock()) as (a, b):
            await bind(a, b)
            received = a.counters["received"]
            with sender(FOREIGN) as foreign:
                for turn in range(5000):  # without a single turn of the loop in between
                    foreign.sendto(bytes(1000), (ADDRESS["nat-a"], a._port))
                    if turn % 100 == 0:
                        b.beat("nat-a")
            await until(lambda: a.counters["received"] - received == 50)
            assert a.counters["malformed"] == 0

    run(scenario())


def test_a_host_that_refuses_the_filter_is_told_once_and_heartbeats_arrive(no_icmp, monkeypatch, caplog):
    def refuse(sock, program):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(real, "attach_filter", refuse)

    async def scenario():
        async with pair(Clock()) as (a, b):
            await bind(a, b)
            a.set_peers({**ADDRESS, "nat-c": FOREIGN})
            assert not a.admission.filtered

    run(scenario())
    warnings = [record.message for record in caplog.records if "filter of source addresses" in record.message]
    assert len(warnings) == 2, "one of each node"
    assert "Operation not permitted" in warnings[0] and "security group" in warnings[0]


def test_without_icmp_the_transport_goes_on_with_udp(no_icmp, caplog):
    async def scenario():
        async with pair(Clock()) as (a, b):
            assert not a.icmp_available
            await bind(a, b)
            assert a.counters["pinged"] == 0

    run(scenario())
    assert "CAP_NET_RAW" in caplog.text


class Kernel:
    """A ping socket whose other end echoes at once; ``peer`` may be made deaf."""

    type = socket.SOCK_DGRAM

    def __init__(self):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ours.setblocking(False)

    def sendto(self, data, address):
        _kind, code, _sum, identifier, seq = ECHO.unpack_from(data)
        self.theirs.send(ECHO.pack(0, code, 0, identifier, seq) + data[ECHO.size :])
        self._from = (address[0], 0)

    def recvfrom(self, size):
        return self.ours.recv(size), self._from

    def fileno(self):
        return self.ours.fileno()

    def close(self):
        self.ours.close()
        self.theirs.close()


def test_icmp_alone_is_life_but_no_heartbeat(monkeypatch):
    monkeypatch.setattr(real, "open_icmp_socket", lambda bind: Kernel())

    async def scenario():
        clock, woken = Clock(), []
        a = node("nat-a", free_port(), clock)
        a.wake = lambda: woken.append(True)
        await a.open()
        try:
            assert a.icmp_available
            a.probe("nat-b")  # nobody answers UDP
            await until(lambda: a.counters["echoed"] == 1)
            heard = a.heard()["nat-b"]
            assert (heard.heartbeat_at, heard.icmp_at, heard.unanswered) == (None, 100.0, 0)
            assert len(woken) == 1
        finally:
            a.close()

    run(scenario())


def test_pings_of_the_real_kernel_where_it_permits_them():
    # Loopback answers for itself: this needs root, a widened ping_group_range or CAP_NET_RAW, else UDP alone is proven.
    async def scenario():
        a = node("nat-a", free_port(), Clock())
        await a.open()
        try:
            a.ping("nat-b")
            if a.icmp_available:
                await until(lambda: a.heard()["nat-b"].icmp_at == 100.0)
            assert a.counters["pinged"] == int(a.icmp_available)
        finally:
            a.close()

    run(scenario())
