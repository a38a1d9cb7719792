# SPDX-License-Identifier: GPL-3.0-or-later
"""The events that connections of a zone live through or not, each in a lab of its own, seen by packets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lab import priority
from lab.fabric import netns
from lab.stream import Stream
from lab.traffic.driver import SENDERS, Flow, Seen, Traffic, changes

from .campaign import Row
from .contenders import Contender, Ours
from .scripted import RETURN_S

EVERY_S = 0.004  # between two new connections
RATE = 2000.0  # of the held connections, which send within ten seconds
LIMIT_S = 60.0
CALM_S = 2.0  # before an event, and after its last trace
ASIDE_S = 0.3  # after an event, before the held connections send: 2,000 packets a second are no part of its gap
PATIENCE_S = (
    16.0  # a keepalive of the client after 5 s, and a retransmission of the server up to twice as late (RFC 6298)
)
LOW_MTU = 1200
LAST = 200  # new connections; a single one may reuse the port, and so the address, of an old one that conntrackd knows
CHANGES = 20  # of the addresses of new connections that are recorded
DIES, HEIR = "nat-a", "nat-b"
LONG_RETURN_S = 30.0  # enough for a boot and a death before the return
SYNC_S = 3.0  # after a boot: the peer's flows come within a second


@dataclass
class Scene:
    """A contender under traffic. ``later``: flows that began at the heir; ``at``: the event's moment, monotonic."""

    contender: Contender
    traffic: Traffic
    delay_s: float
    more: ExitStack
    at: float = 0.0
    later: Traffic | None = None
    notes: Row = field(default_factory=dict)

    def wait(self, what: str, true: Callable[[], bool]) -> float:
        """Until something is so; when that was."""
        end = time.monotonic() + LIMIT_S
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {LIMIT_S:.0f} s: {what}")
            time.sleep(0.02)
        return time.monotonic()

    def owns(self, node: str) -> float:
        """Wait until a node has the route of zone a, and all that follows it has come."""
        self.wait(f"{node} owns zone a", lambda: self.contender.lab.owner("a") == node)
        return time.monotonic()

    def rest(self) -> None:
        """Until an Elastic IP that moves has arrived, and the fate of each flow whose client sends is known."""
        time.sleep(self.delay_s * 1.5 + CALM_S)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and not ended(self.traffic.flows()):
            time.sleep(0.2)

    def written(self, node: str) -> float:
        """When a node's last write of a route was in effect."""
        calls = self.contender.lab.calls(action="ReplaceRoute")
        return max(call.time for call in calls if call.ok and call.caller == node)

    def fault(self, kind: str, host: str = DIES) -> None:
        """Break something; the event begins with it."""
        self.at = self.contender.lab.fault(kind, host)

    def order(self, *words: str) -> None:
        """A command of the service on the node."""
        if not isinstance(self.contender, Ours):
            raise TypeError(f"{type(self.contender).__name__} knows no order {words[0]}")
        with priority.at(priority.ORDINARY):  # an operator types it
            done = self.contender.cluster.run(DIES, *words)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    def boot(self) -> None:
        """The dead node again, with an empty kernel."""
        self.contender.lab.host(DIES).reboot(hard=True)


def _planned(*words: str) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        scene.at = time.monotonic()
        scene.order(*words, "--wait", "20")
        scene.owns(HEIR)

    return play


def _fault(kind: str) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        scene.fault(kind)
        scene.owns(HEIR)

    return play


def _carried(scene: Scene) -> None:
    """A node died, and boots; flows of before and of meanwhile."""
    scene.fault("kill")
    scene.owns(HEIR)
    scene.rest()
    if scene.contender.lab.egress:
        public = scene.contender.lab.egress["a"].public_ip
        scene.wait("new flows of the identity", lambda: set(scene.traffic.seen().opened_under(LAST)) == {public})
    host = scene.contender.lab.host("client-a")
    scene.later = scene.more.enter_context(Traffic(host.popen, scene.contender.lab.names, serve=False))
    time.sleep(CALM_S)
    scene.at = time.monotonic()
    scene.boot()


def _return(scene: Scene) -> None:
    """Of a node that died and boots."""
    _carried(scene)
    scene.owns(DIES)
    scene.at = scene.written(DIES)


def _dies_again(scene: Scene) -> None:
    """In the moment in which its route is written back."""
    _return(scene)
    scene.fault("kill")
    scene.owns(HEIR)


def _heir_dies(scene: Scene) -> None:
    """Before the node that died has taken its claims back: that one takes them, and those of the heir."""
    _carried(scene)
    scene.wait("the dead node is well", lambda: scene.contender.is_back(DIES))
    time.sleep(SYNC_S)
    if scene.contender.lab.owner("a") != HEIR:
        raise RuntimeError("zone a is at home again, so its heir cannot die")
    scene.fault("kill", HEIR)
    scene.owns(DIES)


def _narrow(scene: Scene) -> None:
    """The way behind the heir takes shorter packets than the flows have used so far (RFC 1191)."""
    scene.fault("kill")
    scene.owns(HEIR)
    scene.rest()
    names = scene.contender.lab.names
    scene.at = time.monotonic()
    netns.ip(names.namespace("igw"), [f"link set out mtu {LOW_MTU}"])
    netns.ip(names.namespace("internet"), [f"link set eth0 mtu {LOW_MTU}"])


# Name -> what happens. ``ORDERS`` need commands that the service alone has.
CASES: dict[str, Callable[[Scene], None]] = {
    "crash": _fault("kill"),
    "freeze": _fault("freeze"),
    "drain": _planned("drain"),
    "switchover": _planned("switchover", "--to", HEIR),
    "return": _return,
    "crash during return": _dies_again,
    "crash of the heir": _heir_dies,
    "narrow path": _narrow,
}
ORDERS = ("drain", "switchover")
STRIKES_BOTH = ("crash of the heir",)  # zones, so no other one is watched


def return_s(case: str) -> float:
    """How long a node is well before it takes its claims back."""
    return LONG_RETURN_S if case in STRIKES_BOTH else RETURN_S


def measure(contender: Contender, case: str, delay_s: float, held: int, folder: Path) -> Row:
    """One event under traffic."""
    lab = contender.lab
    lab.control("addresses", {"delay_s": delay_s})
    with ExitStack() as more:
        other = more.enter_context(Stream(lab.host("client-b").popen, folder))
        client = lab.host("client-a")
        traffic = more.enter_context(Traffic(client.popen, lab.names, every_s=EVERY_S, held=held))
        other.wait_for_answer()
        scene = Scene(contender, traffic, delay_s, more)
        scene.wait("all flows began", lambda: all(flow.count > 10 for flow in traffic.flows().values()))
        time.sleep(CALM_S)
        CASES[case](scene)
        time.sleep(ASIDE_S)
        asked = traffic.ask_held(RATE)
        scene.rest()
        seen = traffic.seen()
        later = scene.later.seen() if scene.later is not None else None
        other_lost = other.stop().packets_lost
    return {
        "flows": {name: _flow(flow, scene.at) for name, flow in seen.flows.items()},
        "later": {name: _flow(flow, scene.at) for name, flow in later.flows.items()} if later else {},
        "held": asked,
        "new_outage_ms": round(seen.outage_ms(scene.at), 1),
        "new_failed": sum(
            each.ended is None and scene.at < each.begun < seen.opened[-1].begun - 1 for each in seen.opened
        ),
        "addresses": addresses(seen, scene.at),
        "other_zone_lost": None if case in STRIKES_BOTH else other_lost,
    }


def ended(flows: Mapping[str, Flow]) -> bool:
    """Whether the fate of each flow whose client sends is known."""
    return all(flow.error or flow.alive(0.5) for name, flow in flows.items() if name in SENDERS)


def _flow(flow: Flow, at: float) -> Row:
    return {
        "alive": flow.alive(2.0),
        "error": flow.error,
        "stall_ms": round(flow.stall_ms(at), 1),
        "lost": max(0, flow.sent - flow.count - 3) if flow.sent else None,
    }


def addresses(seen: Seen, since: float) -> list[tuple[float, str]]:
    """(milliseconds after the event, address) of new connections as the server sees them: each change once, the first ones."""
    told = changes(each for each in seen.opened if each.ended is not None and each.ended > since)[:CHANGES]
    return [(round((each.ended - since) * 1000, 1), each.address) for each in told if each.ended is not None]


def kinds(row: Row) -> Iterator[tuple[str, Row]]:
    """(name, flow) of all flows of a row that were watched one by one."""
    yield from row["flows"].items()
    yield from ((f"{name}, opened at the heir", flow) for name, flow in row["later"].items())


def is_of(name: str, kinds: Sequence[str]) -> bool:
    """Whether a flow is of one of the kinds."""
    return name.partition(",")[0] in kinds
