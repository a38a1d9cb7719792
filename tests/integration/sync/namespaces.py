# SPDX-License-Identifier: GPL-3.0-or-later
"""Level 2 with real packets: conntrackd on two nodes, a client and a server, in network namespaces.

Both nodes of the identity's path differ in one thing: the heir has a waiting address, which the internet gateway (here the
server's own rules, without memory of any flow) shows to the server as the address of the identity. Connection tracking of
the heir takes no flow up in the middle, so only what was synchronised goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import types

from nat_failover.host import conntrackd_conf, netfilter, nft_batch, state_sync
from nat_failover.model.nat import Identity, Nat
from tests.unit.engine.namespaces import entered, inside, runner

CLIENT, NODE_A, NODE_B, SERVER = SPACES = [f"nfo-sy-{each}" for each in ("c", "a", "b", "s")]
EGRESS, WAITING = "10.9.0.99", "10.9.1.98"  # of node A, and of node B for the identity of A
CLIENTS = "10.9.10.0/24"
FIRST, SECOND, FAR = "10.9.10.50", "10.9.10.51", "192.0.2.1"
PORT = 7000
NODES = {
    NODE_A: Nat(("10.9.0.0/16",), "out", identities=(Identity("nat-a", EGRESS, (CLIENTS,)),)),
    NODE_B: Nat(("10.9.0.0/16",), "out", identities=(Identity("nat-a", WAITING, (CLIENTS,), synced=EGRESS),)),
}


def apply(space, state=None):
    states = {"nat-a": state} if state else None

    def send(messages):
        return entered(space, lambda: nft_batch.transact(messages))

    return netfilter.apply_rules(NODES[space], runner(space), states, send)


def config(space, key_file):
    """The part of the configuration that the helper's commands need."""
    own, peer = ("198.51.100.1", "198.51.101.1") if space == NODE_A else ("198.51.101.1", "198.51.100.1")
    waiting = {} if space == NODE_B else {"nat-a": WAITING}
    other = types.SimpleNamespace(name="peer", address=peer, witness=False, waiting=waiting)
    return types.SimpleNamespace(
        state_sync="conntrackd",
        key_file=key_file,
        nat=NODES[space],
        peers=(other,),
        me=types.SimpleNamespace(address=own),
    )


class Sync:
    """conntrackd of a node."""

    def __init__(self, space, folder):
        number = SPACES.index(space)
        own, peer = (f"10.99.0.{number}", f"10.99.0.{3 - number}")
        self.space, self.folder = space, f"{folder}/{space}"
        os.makedirs(self.folder, exist_ok=True)
        self.path = f"{self.folder}/{conntrackd_conf.NAME}"
        text = conntrackd_conf.text(own, peer, "sync", [CLIENTS], 65536, self.folder)
        with open(self.path, "w", encoding="ascii") as stream:
            stream.write(text)
        self.process = None

    def start(self):
        argv = ["ip", "netns", "exec", self.space, "conntrackd", "-C", self.path]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: not self.read().problem)

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            for name in ("lock", "control.sock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.folder, name))

    def read(self):
        return state_sync.read(runner(self.space), self.path)

    def order(self, *words):
        return state_sync.answer(words, config(self.space, f"{self.folder}/key"), runner(self.space))

    def resync(self):
        inside(self.space, "conntrackd", "-C", self.path, "-n")


def until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.05)


def gateway():
    """Seen from the server, the waiting address of node B is the address of the identity."""
    inside(SERVER, "nft", "add table ip gateway")
    for hook, priority, match in (
        ("prerouting", -400, f'iifname "to1" ip saddr {WAITING} ip saddr set {EGRESS}'),
        ("postrouting", 400, f'oifname "to1" ip daddr {EGRESS} ip daddr set {WAITING}'),
    ):
        inside(SERVER, "nft", f"add chain ip gateway {hook} {{ type filter hook {hook} priority {priority}; }}")
        inside(SERVER, "nft", f"add rule ip gateway {hook} {match}")


def lead(number):
    """Both ways lead through a node from now on: the clients' route, and the address of the identity."""
    inside(CLIENT, "ip", "route", "replace", FAR, "via", f"10.9.{10 + number}.1")
    inside(SERVER, "ip", "route", "replace", EGRESS, "via", f"198.51.{100 + number}.1")


def echoed(client, other):
    client.sendall(b"up")
    assert other.recv(10) == b"up"
    pushed(client, other)


def pushed(client, other):
    """The server sends first: the client is a silent receiver."""
    other.sendall(b"down")
    assert client.recv(10) == b"down"


def flows(space):
    _code, out, _err = runner(space)(["conntrack", "-L", "-q", EGRESS], timeout=5)
    return out.splitlines()


def synchronised(count):
    until(lambda: sum("ASSURED" in line or "icmp" in line for line in flows(NODE_B)) == count)


def crash(a):
    """Node A ends at once: its packets, and its conntrackd."""
    a.kill()
    lead(1)
    inside(NODE_A, "conntrack", "-F")
