# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a private subnet is without internet: every contender, every fault, seen by real packets."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.stream import TCP, Result

from .campaign import Key, Part, Row
from .contenders import UNTAGGED, Contender, Ours, running
from .summary import median

QUICK, FULL = 2, 5  # runs of each; a round takes some seven minutes
TIMED = ("kill", "freeze", "unforward", "drain", "return")
PROFILES = ("default", "fast")
BY_ID = tuple(profile + UNTAGGED for profile in PROFILES)
LATENCIES = (0, 100, 300, 1000, 2000)  # milliseconds of each call to the API
PEERS = ("article", "keepalived-1", "keepalived-0.1")
LIMIT_S = 30.0
GAP_S = 0.03  # shorter silences of a 5 ms stream are the machine's, not the network's


@dataclass(frozen=True)
class Case:
    """``break_it(contender)`` returns when (monotonic). ``watch_s``: look so long, whatever happens; None: until packets flow again."""

    name: str
    break_it: Callable[[Contender], float]
    watch_s: float | None = None
    then: Callable[[Contender], None] | None = None


def _fault(kind: str, **options: Any) -> Callable[[Contender], float]:
    return lambda contender: contender.lab.fault(kind, "nat-a", **options)


def _drain(contender: Contender) -> float:
    began = time.monotonic()
    if isinstance(contender, Ours):
        done = contender.cluster.run("nat-a", "drain", "--wait", "10")
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
    return began


def _api_outage(contender: Contender) -> float:
    """The API is away from the moment of the death, for 15 seconds."""
    contender.lab.fault("api", error="ServiceUnavailable", status=503)
    return contender.lab.fault("kill", "nat-a")


def _thaw(contender: Contender) -> None:
    contender.lab.fault("thaw", "nat-a")


def _api_back(contender: Contender) -> None:
    time.sleep(15.0)
    contender.lab.clear_faults()


CASES = {
    case.name: case
    for case in (
        Case("kill", _fault("kill")),
        Case("freeze", _fault("freeze")),
        Case("unforward", _fault("unforward"), 6.0),
        Case("drain", _drain, 1.0),
        Case("return", _fault("freeze"), 12.0, _thaw),
        Case("partition", _fault("cut", peer="nat-b"), 40.0),
        Case("one-way", _fault("cut", peer="nat-b", direction="out"), 40.0),
        Case("uplink", _fault("uplink"), 40.0),
        Case("api-outage", _api_outage, 25.0, _api_back),
    )
}


def plan(runs: int) -> Iterator[tuple[str, str, int, int]]:
    """(contender, case, API latency in ms, number of the run): all contenders in turn, so that each sees the same machine."""
    for run in range(runs):
        for latency in LATENCIES:
            for name in (*PROFILES, *BY_ID, *PEERS):
                yield name, "kill", latency, run
        for name in PROFILES:
            for case in ("freeze", "unforward", "drain", "return"):
                yield name, case, 0, run
        if run == 0:
            yield from _behaviour()


def _behaviour() -> Iterator[tuple[str, str, int, int]]:
    for case in ("partition", "api-outage", "uplink", "one-way"):
        for name in ("default", "article", "keepalived-1"):
            yield name, case, 0, 0


def measure(name: str, case: Case, latency_ms: int) -> dict[str, Any]:
    """One measurement, in a lab of its own."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with running(name, folder) as contender:
            lab = contender.lab
            with ExitStack() as stack:
                udp = [stack.enter_context(lab.stream(client)) for client in ("client-a", "client-b")]
                tcp = stack.enter_context(lab.stream("client-a", kind=TCP))
                for stream in (*udp, tcp):
                    stream.wait_for_answer()
                time.sleep(0.3)
                if latency_ms:
                    lab.fault("api", delay_ms=latency_ms)
                at = case.break_it(contender)
                _watch(contender, case, at, udp[0])
                row = _split(contender, at, udp[0].result()) if case.watch_s is None else {}
                results = [each.stop() for each in (*udp, tcp)]
            return {**row, **_seen(contender, at, results)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watch(contender: Contender, case: Case, at: float, stream: Any) -> None:
    if case.name == "return":
        stream.wait_for_silence()
    if case.watch_s is None:
        stream.wait_for_silence(limit_s=LIMIT_S)
        stream.wait_for_answer(LIMIT_S)
        time.sleep(1.2)  # what went by TCP meanwhile has its answer
        return
    if case.name == "return":
        stream.wait_for_answer(LIMIT_S)
    if case.then is not None:
        case.then(contender)
    time.sleep(max(0.0, at + case.watch_s - time.monotonic()))


def _split(contender: Contender, at: float, seen: Result) -> dict[str, Any]:
    """Where the time went. The call log, the events and the stream share one clock."""
    calls = [c for c in contender.lab.calls(action="ReplaceRoute", since=at) if c.ok and c.caller == "nat-b"]
    verdict, answered = contender.verdict_at(at), [t for t in seen.received.values() if t > at]
    if not calls or verdict is None or not answered:
        return {}
    applied = calls[0].time
    flowing = min([t for t in answered if t >= applied], default=applied)
    reads = [c for c in contender.lab.calls(since=at) if c.caller == "nat-b" and c.action.startswith("Describe")]
    asked, proof = [c.received for c in reads], [c.time for c in reads if c.time <= verdict]
    steps = {"asked": min(asked, default=verdict), "answered": max(proof, default=verdict), "verdict": verdict}
    steps = {**steps, "written": calls[0].received, "applied": applied, "flowing": flowing}
    return {
        "steps": {name: round((moment - at) * 1000, 1) for name, moment in steps.items()},
        "split": {
            "detect": round((verdict - at) * 1000, 1),
            "decide": round((calls[0].received - verdict) * 1000, 1),
            "api": round((applied - calls[0].received) * 1000, 1),
            "fabric": round((flowing - applied) * 1000, 1),
        },
    }


def _seen(contender: Contender, at: float, results: list[Result]) -> dict[str, Any]:
    lab, (one, two, tcp) = contender.lab, results
    gaps = [(begin, begin + length) for begin, length in one.gaps if length > GAP_S and begin + length > at]
    stopped = [str(c.parameters.get("InstanceId.1", "")) for c in lab.calls(action="StopInstances", since=at) if c.ok]
    names = {zone.instance_id: zone.node for zone in lab.ids.zones.values()}
    return {
        "outage_ms": round(one.outage_ms(at), 1),
        "tcp_outage_ms": round(tcp.outage_ms(at), 1),
        "other_outage_ms": round(two.outage_ms(at), 1),
        "dark_s": [round(sum(x for b, x in each.gaps if x > GAP_S and b + x > at), 2) for each in (one, two)],
        "dark_at_end": [each.gaps[-1][1] > 1.0 for each in (one, two)],
        "lost": one.lost(at - 0.05),
        "stopped": sorted({names.get(each, each) for each in stopped}),
        "owners": {zone: lab.owner(zone) for zone in lab.ids.zones},
        "gaps": [[round(b - at, 3), round(e - at, 3)] for b, e in gaps][:20],
        "watched_s": round(one.end - at, 2),
    }


def _keys(quick: bool) -> Iterator[Key]:
    for name, case, latency, run in plan(QUICK if quick else FULL):
        yield {"contender": name, "case": case, "api_ms": latency, "run": run}


def _measure(key: Key) -> Row:
    return measure(key["contender"], CASES[key["case"]], key["api_ms"])


def figures(rows: list[Row]) -> dict[str, float]:
    """The median outages of the service. Those of the peers are none of its figures."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["contender"] in (*PROFILES, *BY_ID) and CASES[row["case"]].name in TIMED:
            name = f"{row['case']}, {row['contender']}, API {row['api_ms']} ms: outage_ms"
            found.setdefault(name, []).append(row["outage_ms"])
    return {name: median(values) for name, values in found.items()}


def _beside(key: Key) -> str | None:
    """All contenders of a case at once, where not milliseconds count but what happens."""
    return None if key["case"] in TIMED else str(key["case"])


PART = Part("outage", ("contender", "case", "api_ms", "run"), _keys, _measure, figures, _beside)
