# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary: a client in a network namespace of its own, whose packets this node forwards like a
customer's.

Its process is separate from the service, because it needs root for a moment, to make the namespace
and the link to it. Then it gives up all privileges, and probes the targets that the service names
over a unix socket. Namespace and link end with the process, so there is nothing to clean up, also
after a crash or a reboot.

Only one thread of the process lives in the namespace. It runs the loop of the socket. The process
itself stays in the namespace of the node.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import pwd
import socket
import threading
import typing as t

from ..errors import NatFailoverError
from ..model.settings import ICMP, TCP, UDP, Canary, Config, Target
from ..runtime.real import open_icmp_socket
from ..wire.prober import ProbeImpossible, Prober
from .netfilter import TIMEOUT, Runner
from .systemd import sd_notify

LINK = "nfcanary"  # the node's end, as `ip link` shows it
GATEWAY, GATEWAY_IPV6 = "169.254.127.1", "fe80::1"  # link-local: no VPC has these addresses
LONGEST_WAIT = 10.0  # seconds for one target
CLONE_NEWNET = 0x40000000


def live(config: Config, runner: Runner, user: str = "") -> None:
    """Make the namespace, become ``user``, and answer until the process is ended.

    Raises ``NatFailoverError``.
    """
    listener = _listen(config.canary.socket, user)
    ready, problem, aside = threading.Event(), [], []

    def body() -> None:
        try:
            _unshare()
            _build(config.canary, runner)
            aside.append(_enter_by(config.nat.interface, config.canary, runner))
            prober = Prober(open_icmp_socket("0.0.0.0"))  # as root, which may open one
            _become(user)  # all threads, for good
        except (NatFailoverError, OSError, KeyError) as error:
            problem.append(str(error))
            return
        finally:
            ready.set()
        asyncio.run(_answer_forever(listener, prober, aside[0]))

    thread = threading.Thread(target=body, name="canary", daemon=True)
    thread.start()
    ready.wait()
    if problem:
        raise NatFailoverError(f"canary: {problem[0]}")
    how = f" by its own interface: {aside[0]}" if aside[0] else f" by {config.nat.interface}"
    addresses = ", ".join(_addresses(config.canary))
    sd_notify(f"READY=1\nSTATUS=a client with the address {addresses}, whose packets come in{how}")
    thread.join()


def _listen(path: str, user: str) -> socket.socket:
    """A listening unix socket that only ``user``, the service's, may connect to."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    if os.path.exists(path):
        os.unlink(path)  # an earlier process left it
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    if user:
        entry = _entry(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    listener.listen(16)
    return listener


def _entry(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise NatFailoverError(
            f"canary: user {user} does not exist; run the role nat_instance, which makes it"
        ) from None


def _unshare() -> None:
    # Imported here only: ctypes may write executable memory, which the unit of the service forbids.
    import ctypes  # pylint: disable=import-outside-toplevel

    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNET):
        code = ctypes.get_errno()
        raise NatFailoverError(
            f"a network namespace cannot be made: {os.strerror(code)}; run this as root (CAP_SYS_ADMIN)"
        )


def _addresses(settings: Canary) -> list[str]:
    return [settings.address] + ([settings.ipv6.address] if settings.ipv6 is not None else [])


def _build(settings: Canary, runner: Runner) -> None:
    """Make a link between the namespace of this thread and that of the node."""
    _ip(runner, ["link", "set", "lo", "up"])
    # The first thread of the process lives in the node's namespace.
    outside = ["nsenter", f"--net=/proc/{os.getpid()}/ns/net"]
    here = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
    # An earlier process that is about to end may still have the link.
    runner([*outside, "ip", "link", "delete", LINK], timeout=TIMEOUT)
    _ip(runner, ["link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", here], outside)
    _ip(runner, ["link", "set", LINK, "up"], outside)
    _ip(runner, ["link", "set", "eth0", "up"])
    for address in _addresses(settings):
        _give(address, runner, outside)


def _give(address: str, runner: Runner, outside: list[str]) -> None:
    """Give this side an address, and both sides a route."""
    six = ":" in address
    # nodad makes an address usable at once. There is no other host on this link that could have it.
    length, gateway, more = ("/128", GATEWAY_IPV6, ["nodad"]) if six else ("/32", GATEWAY, [])
    _ip(runner, ["address", "add", gateway + ("/64" if six else "/32"), "dev", LINK, *more], outside)
    _ip(runner, ["route", "replace", address + length, "dev", LINK], outside)
    _ip(runner, ["address", "add", address + length, "dev", "eth0", *more])
    # The word "default" does not tell the family.
    _ip(runner, ["-6" if six else "-4", "route", "add", "default", "via", gateway, "dev", "eth0", "onlink"])


def _enter_by(interface: str, settings: Canary, runner: Runner) -> str:
    """Redirect the canary's packets to the interface of customers' packets, so that the same rules
    see them.

    Returns "" or the reason why that failed. Answers are routed to the canary's own link.
    """
    tc = ["nsenter", f"--net=/proc/{os.getpid()}/ns/net", "tc"]
    matches = ["protocol ip prio 1 u32 match u32 0 0"]
    if settings.ipv6 is not None:  # global addresses only: neighbour discovery stays on the link
        matches.append("protocol ipv6 prio 2 u32 match ip6 dst 2000::/3")
    filters = [
        f"filter add dev {LINK} ingress {match} action mirred ingress redirect dev {interface}" for match in matches
    ]
    for words in [line.split() for line in (f"qdisc add dev {LINK} clsact", *filters)]:
        code, out, err = runner([*tc, *words], timeout=TIMEOUT)
        if code:
            return "tc {}: {}".format(words[0], (err or out).strip().replace("\n", " ")[:200])
    return ""


def _ip(runner: Runner, words: list[str], prefix: t.Sequence[str] = ()) -> None:
    code, out, err = runner([*prefix, "ip", *words], timeout=TIMEOUT)
    if code:
        raise NatFailoverError(f"ip {' '.join(words)} failed ({code}): {(err or out).strip()}")


def _become(user: str) -> None:
    if user:
        entry = _entry(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)  # from root: takes every capability away


async def _answer_forever(listener: socket.socket, prober: Prober, aside: str = "") -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await _answer(reader, writer, prober, aside):
                pass
        except OSError:
            pass  # the service has closed its end
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, sock=listener, limit=4096)
    try:
        await asyncio.Event().wait()
    finally:
        server.close()  # does not wait for open connections to end


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, prober: Prober, aside: str) -> bool:
    """Read one request, probe its target, answer. Returns whether another request may follow.

    ``aside`` is the result of ``_enter_by``.
    """
    understood = False
    try:
        line = await reader.readline()
        if not line:
            return False
        request = json.loads(line)
        target, timeout = _target(request), min(float(request["timeout"]), LONGEST_WAIT)
        understood = True
        answer = {"problem": await prober.reach(target, timeout), "aside": aside}
    except ProbeImpossible as error:
        answer = {"error": str(error)}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        answer = {"error": "not a line of JSON with kind, host, port and timeout"}
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()
    return understood


def _target(request: t.Mapping[str, t.Any]) -> Target:
    """The target that a request names, by address. The canary must not depend on a resolver.

    Raises ``ValueError``.
    """
    kind = request.get("kind", TCP)
    if kind not in (TCP, UDP, ICMP):
        raise ValueError(kind)
    return Target(kind, str(ipaddress.ip_address(request["host"])), int(request["port"]))
