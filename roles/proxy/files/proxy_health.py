# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health of the proxy on this node: a tunnel that the proxy really opened, not a port that is open.

A proxy may listen and answer nothing but errors: its names do not resolve, its uplink is gone, its
guard refuses. So this asks the proxy for a tunnel to a destination on the internet every two
seconds, and answers GET /healthz from the last verdict: 200, or 503 with the reason. It writes the
same verdict into a file, by which the service nat-failover moves the address of the proxy.

    proxy-health run       the service; it needs no rights
    proxy-health status    the answer of /healthz, and exit 1 unless it is healthy
    proxy-health drain     answer 503, so that a load balancer sends no new connection
    proxy-health resume    the end of that
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import typing as t

from proxy_healthz import ANSWER_S, Answer, Server, status_line

SETTINGS = "/etc/aws-ha-egress/proxy.json"
STATE = "/var/lib/aws-ha-egress"
DRAINED, RESTARTS = STATE + "/drained", STATE + "/health/restarts.json"
REQUEST = "/run/aws-ha-egress-health/restart"
# Read by the service nat-failover, which moves the address of the proxy by it.
VERDICT, BOOT_ID = "/run/aws-ha-egress-health/verdict.json", "/proc/sys/kernel/random/boot_id"
INTERVAL_S = 2.0
# A check of all destinations may take long; a verdict that is older says nothing any more.
STALE_S = 15.0
FAILURES_BEFORE_RESTART, RESTARTS_AN_HOUR = 3, 3
# Each node may restart its engine in its own part of the clock only, so that two never do so within
# a minute.
SLOT_S, WINDOW_S = 90, 30
Destination = tuple[str, int]
HEALTHY, FAILING, DRAINED_STATE, STARTING = "healthy", "failing", "drained", "starting"


class Proof(t.NamedTuple):
    """The result of one round of requests."""

    ok: bool
    reason: str
    at: float


# --- decisions ----------------------------------------------------------------------------


def answer(proof: Proof | None, drained: bool, now: float) -> Answer:
    """The answer of this moment. Times are of one monotonic clock."""
    if drained:
        return Answer(503, DRAINED_STATE, "drained by an operator; proxy-health resume ends it")
    if proof is None:
        return Answer(503, STARTING, "nothing is known yet")
    if now - proof.at > STALE_S:
        return Answer(503, FAILING, f"the last proof is {now - proof.at:.0f} s old")
    return Answer(200, HEALTHY, proof.reason) if proof.ok else Answer(503, FAILING, proof.reason)


def verdict(found: Answer, at: float, boot_id: str) -> str:
    """The verdict for other programs on this node: good until ``at``, of one boot of the kernel, is
    too old.
    """
    return json.dumps({"boot_id": boot_id, "at": at, "well": found.code == 200, "reason": found.reason}) + "\n"


def may_restart(
    failures: int, direct: bool, restarts: t.Sequence[float], now: float, rank: int, nodes: int
) -> tuple[bool, str]:
    """Whether the engine is to be restarted now, and why (not).

    ``now`` and ``restarts`` are Unix times, ``rank`` is this node's among ``nodes``.

    The clock is what nodes share without asking each other: each has a part of it, of which it uses
    the beginning.
    """
    if failures < FAILURES_BEFORE_RESTART:
        return False, f"{failures} of {FAILURES_BEFORE_RESTART} failures"
    if not direct:
        return False, "this node reaches no destination without the proxy either"
    if len([each for each in restarts if now - each < 3600]) >= RESTARTS_AN_HOUR:
        return False, f"restarted {RESTARTS_AN_HOUR} times within the hour already"
    within = now % (SLOT_S * nodes) - SLOT_S * rank
    if nodes > 1 and not 0 <= within < WINDOW_S:
        return False, "waiting for this node's part of the clock"
    return True, f"{failures} failures, while the node itself reaches the internet"


# --- questions ----------------------------------------------------------------------------


def ask_proxy(port: int, destination: Destination) -> str:
    """Why the proxy on this node opens no tunnel to the destination; empty when it does."""
    end = time.monotonic() + ANSWER_S
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as connection:
            where = "{}:{}".format(*destination)
            connection.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode("ascii"))
            line = status_line(connection, end)
    except OSError as error:
        return f"the proxy on port {port}: {error.strerror or error}"
    words = line.split(None, 2)
    if len(words) > 1 and words[0].startswith("HTTP/") and words[1] == "200":
        return ""
    said = " ".join(words[1:]) or "nothing"
    return f"the proxy says {said} for {destination[0]}:{destination[1]}"


def tunnel(destination: Destination) -> str:
    """The proof, in words."""
    return f"a tunnel to {destination[0]}:{destination[1]}"


def ask_directly(destination: Destination) -> bool:
    """Whether this node reaches the destination without the proxy."""
    try:
        with socket.create_connection(destination, timeout=ANSWER_S):
            return True
    except OSError:
        return False


def prove(
    port: int,
    destinations: t.Sequence[Destination],
    through: t.Callable[[int, Destination], str] = ask_proxy,
    clock: t.Callable[[], float] = time.monotonic,
) -> Proof:
    """One round: the first destination that works is enough."""
    reasons = []
    for destination in destinations:
        reason = through(port, destination)
        if not reason:
            return Proof(True, tunnel(destination), clock())
        reasons.append(reason)
    return Proof(False, "; ".join(reasons), clock())


# --- the service ----------------------------------------------------------------------------


class Health:
    """The last proof, and what follows from it. ``health`` is that part of the settings."""

    def __init__(self, port: int, health: t.Mapping[str, t.Any]) -> None:
        self.port, self.health = port, health
        self.destinations = [tuple(each) for each in health["destinations"]]
        self.proof: Proof | None = None
        self.failures, self.told, self.unwritten = 0, "", ""
        self.restarts = _read_json(RESTARTS, [])

    def now(self) -> Answer:
        return answer(self.proof, os.path.exists(DRAINED), time.monotonic())

    def round(self) -> None:
        """One proof, a line for the journal when something changes, and a restart where it is due."""
        proof = prove(self.port, self.destinations)
        self.failures = 0 if proof.ok else self.failures + 1
        self.proof = proof
        told = self.now()
        if told.state != self.told:
            print(f"proxy health: {told.state}: {told.reason}", flush=True)
            self.told = told.state
        self._write_verdict(told)
        if not proof.ok:
            self._restart(proof)
        # The one that answered comes first next time.
        self.destinations.sort(key=lambda each: tunnel(each) != proof.reason)

    def _write_verdict(self, found: Answer) -> None:
        """Whole or not at all, and at each round: one that is old counts for nothing."""
        try:
            with open(BOOT_ID, encoding="ascii") as stream:
                boot_id = stream.read().strip()
            _write(VERDICT, verdict(found, time.monotonic(), boot_id))
            self.unwritten = ""
        except OSError as error:
            if str(error) != self.unwritten:
                print(f"proxy health: cannot write its verdict: {error}", flush=True)
            self.unwritten = str(error)

    def _restart(self, proof: Proof) -> None:
        if self.failures < FAILURES_BEFORE_RESTART:
            return
        # Only now: it may take as long as the round, and /healthz answers with the verdict already.
        direct = any(ask_directly(destination) for destination in self.destinations)
        due, why = may_restart(
            self.failures, direct, self.restarts, time.time(), self.health["rank"], self.health["nodes"]
        )
        if not due:
            return
        self.restarts = [each for each in self.restarts if time.time() - each < 3600] + [time.time()]
        self.failures = 0
        print(f"proxy health: asks for a restart of the proxy: {why}: {proof.reason}", flush=True)
        try:
            _write(RESTARTS, json.dumps(self.restarts))
            _write(REQUEST, why + "\n")
        except OSError as error:
            print(f"proxy health: cannot ask for a restart: {error}", flush=True)


def _read_json(path: str, otherwise: t.Any) -> t.Any:
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return otherwise


def _write(path: str, text: str) -> None:
    with open(path + ".new", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(path + ".new", path)


def run() -> int:
    """The service; it does not return."""
    with open(SETTINGS, encoding="utf-8") as stream:
        settings = json.load(stream)
    health = Health(settings["port"], settings["health"])
    server = Server(settings["health"]["port"], health.now, settings["health"]["sources"])
    threading.Thread(target=server.forever, daemon=True).start()
    while True:
        begun = time.monotonic()
        health.round()
        time.sleep(max(0.1, INTERVAL_S - (time.monotonic() - begun)))


def status() -> int:
    """Print what /healthz says."""
    with open(SETTINGS, encoding="utf-8") as stream:
        port = json.load(stream)["health"]["port"]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    except OSError as error:
        print(f"proxy-health: the service does not answer on port {port}: {error}; systemctl status proxy-health")
        return 1
    found = json.loads(text.partition("\r\n\r\n")[2])
    print("{}: {}".format(found["state"], found["reason"]))
    return 0 if found["state"] == HEALTHY else 1


def drain(on: bool) -> int:
    """Set or take away the flag."""
    if on:
        os.makedirs(STATE, mode=0o755, exist_ok=True)
        with open(DRAINED, "w", encoding="ascii") as stream:
            stream.write(f"{time.time()}\n")
    elif os.path.exists(DRAINED):
        os.unlink(DRAINED)
    return 0


def main(arguments: t.Sequence[str]) -> int:
    verbs = {"run": run, "status": status, "drain": lambda: drain(True), "resume": lambda: drain(False)}
    if len(arguments) != 1 or arguments[0] not in verbs:
        print("proxy-health: say run, status, drain or resume", file=sys.stderr)
        return 2
    try:
        return verbs[arguments[0]]()
    except OSError as error:
        print(f"proxy-health: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
