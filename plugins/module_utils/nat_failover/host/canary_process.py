# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary: a client of this node's own, in a network namespace of its own, whose packets are forwarded and masqueraded like a customer's.

Its process is a small one apart from the service, because it needs root for a moment: to make the namespace and the link to it. Then it
gives all privileges up and asks the targets that the service names, over a unix socket. Namespace and link go with the process: there is
nothing to clean up, and nothing that a reboot could leave half done.

Only one thread of the process lives in the namespace. It carries the socket's loop; the process as such stays a process of the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import pwd
import socket
import threading
import typing as t

from ..config.targets import ICMP, TCP, UDP, Target
from ..errors import NatFailoverError
from ..model.settings import Canary, Config
from ..wire.icmp import open_socket
from ..wire.prober import ProbeImpossible, Prober
from . import kernel as system

LINK = "nfcanary"  # the node's end; its name says in `ip link` whose it is
GATEWAY, GATEWAY_IPV6 = "169.254.127.1", "fe80::1"  # link-local, so that they are no addresses of any VPC
LONGEST_WAIT = 10.0  # seconds for one target
ANSWER_WITHIN = 1.0  # seconds that an answer may be late beyond the target's own time
CLONE_NEWNET = 0x40000000


# --- in the canary's process -----------------------------------------------------------------------------------------------------


def live(config: Config, runner: system.Runner, user: str = "") -> None:
    """Make the namespace, then answer until the process is ended. ``user``: whom to become. Raises ``NatFailoverError``."""
    listener = _listen(config.canary.socket, user)
    ready, problem, aside = threading.Event(), [], []

    def body() -> None:
        try:
            _unshare()
            _build(config.canary, runner)
            aside.append(_enter_by(config.nat.interface, config.canary, runner))
            prober = Prober(open_socket("0.0.0.0"))  # while it still may
            _become(user)  # of all threads; there is no way back
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
        raise NatFailoverError("canary: %s" % problem[0])
    how = " by its own interface: %s" % aside[0] if aside[0] else " by %s" % config.nat.interface
    addresses = ", ".join(_addresses(config.canary))
    system.sd_notify("READY=1\nSTATUS=a client with the address %s, whose packets come in%s" % (addresses, how))
    thread.join()


def _listen(path: str, user: str) -> socket.socket:
    """Only the service's user may ask."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    if os.path.exists(path):
        os.unlink(path)  # of a process before this one
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
        raise NatFailoverError("canary: there is no user %s; the role nat_instance makes it" % user) from None


def _unshare() -> None:
    # Not at the top: the service imports this file too, and must not write executable memory, as ctypes may.
    import ctypes  # pylint: disable=import-outside-toplevel

    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNET):
        code = ctypes.get_errno()
        raise NatFailoverError("no network namespace: %s; this needs root (CAP_SYS_ADMIN)" % os.strerror(code))


def _addresses(settings: Canary) -> t.List[str]:
    return [settings.address] + ([settings.ipv6.address] if settings.ipv6 is not None else [])


def _build(settings: Canary, runner: system.Runner) -> None:
    """A link between this thread's namespace and the node's, made from this side and finished from both."""
    _ip(runner, ["link", "set", "lo", "up"])
    # In the node's namespace, which is that of the process's first thread.
    outside = ["nsenter", "--net=/proc/%d/ns/net" % os.getpid()]
    here = "/proc/%d/task/%d/ns/net" % (os.getpid(), threading.get_native_id())
    runner([*outside, "ip", "link", "delete", LINK], timeout=system.TIMEOUT)  # of a process that is just dying
    _ip(runner, ["link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", here], outside)
    _ip(runner, ["link", "set", LINK, "up"], outside)
    _ip(runner, ["link", "set", "eth0", "up"])
    for address in _addresses(settings):
        _give(address, runner, outside)


def _give(address: str, runner: system.Runner, outside: t.List[str]) -> None:
    """An address for this side, and the way to it and from it."""
    six = ":" in address
    # "nodad": usable at once, and nobody else is on this link.
    length, gateway, more = ("/128", GATEWAY_IPV6, ["nodad"]) if six else ("/32", GATEWAY, [])
    _ip(runner, ["address", "add", gateway + ("/64" if six else "/32"), "dev", LINK, *more], outside)
    _ip(runner, ["route", "replace", address + length, "dev", LINK], outside)
    _ip(runner, ["address", "add", address + length, "dev", "eth0", *more])
    # The family is told: "default" does not tell it.
    _ip(runner, ["-6" if six else "-4", "route", "add", "default", "via", gateway, "dev", "eth0", "onlink"])


def _enter_by(interface: str, settings: Canary, runner: system.Runner) -> str:
    """Let the canary's packets come in by the interface that customers' come in by, so that the same rules see them; why not, if that fails.

    Only on the way out: answers are routed to the canary's own link.
    """
    tc = ["nsenter", "--net=/proc/%d/ns/net" % os.getpid(), "tc"]
    matches = ["protocol ip prio 1 u32 match u32 0 0"]
    if settings.ipv6 is not None:  # global ones: neighbours are found on the link itself
        matches.append("protocol ipv6 prio 2 u32 match ip6 dst 2000::/3")
    filters = [
        "filter add dev %s ingress %s action mirred ingress redirect dev %s" % (LINK, match, interface)
        for match in matches
    ]
    for words in [line.split() for line in ("qdisc add dev %s clsact" % LINK, *filters)]:
        code, out, err = runner([*tc, *words], timeout=system.TIMEOUT)
        if code:
            return "tc %s: %s" % (words[0], (err or out).strip().replace("\n", " ")[:200])
    return ""


def _ip(runner: system.Runner, words: t.List[str], prefix: t.Sequence[str] = ()) -> None:
    code, out, err = runner([*prefix, "ip", *words], timeout=system.TIMEOUT)
    if code:
        raise NatFailoverError("ip %s failed (%d): %s" % (" ".join(words), code, (err or out).strip()))


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
            pass  # the asker does not wait any more
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, sock=listener, limit=4096)
    try:
        await asyncio.Event().wait()
    finally:
        server.close()  # without waiting for askers, whose connections stay open


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, prober: Prober, aside: str) -> bool:
    """One line asked, one line answered: did this target answer? ``aside``: see ``_enter_by``. Returns whether another may be asked."""
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
    """An address, never a name: the canary must not depend on how its own way leads to a resolver."""
    kind = request.get("kind", TCP)
    if kind not in (TCP, UDP, ICMP):
        raise ValueError(kind)
    return Target(kind, str(ipaddress.ip_address(request["host"])), int(request["port"]))


# --- in the service --------------------------------------------------------------------------------------------------------------


Streams = t.Tuple[asyncio.StreamReader, asyncio.StreamWriter]


class CanaryGone(NatFailoverError):
    """There is no canary to ask. That proves nothing against this node's forwarding."""


class Asking:
    """Reach a target as the canary behind this socket does it; raises ``CanaryGone``. ``aside``: why its packets do not come in as customers' do."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.aside = ""
        self._idle: t.Optional[Streams] = None  # a connection on which nobody waits for an answer

    async def __call__(self, target: Target, timeout: float) -> str:
        try:
            address = await _resolve(target)
        except OSError as error:
            return "%s: %s" % (target, error.strerror or error)
        asked = self._ask(target._replace(host=address), timeout)
        try:
            answer = await asyncio.wait_for(asked, timeout + ANSWER_WITHIN)
        except (OSError, ValueError, KeyError, asyncio.TimeoutError) as error:
            raise CanaryGone(
                "%s: %s; look at `systemctl status nat-failover-canary`" % (self._path, error or "no answer")
            ) from None
        self.aside = str(answer.get("aside", ""))
        return str(answer["problem"])

    async def _ask(self, target: Target, timeout: float) -> t.Dict[str, t.Any]:
        reader, writer = await self._connection()
        try:
            writer.write(json.dumps({**target._asdict(), "timeout": timeout}).encode() + b"\n")
            await writer.drain()
            answer = json.loads(await reader.readline())
            if "problem" not in answer:
                raise ValueError(answer.get("error", "no answer"))
        except BaseException:  # also when cancelled: a late answer must not be taken for that to the next question
            writer.close()
            raise
        self.close()
        self._idle = reader, writer
        return t.cast(t.Dict[str, t.Any], answer)

    async def _connection(self) -> Streams:
        """The one that was used before, unless the canary has closed it or another question is under way."""
        kept, self._idle = self._idle, None
        if kept is not None and not kept[0].at_eof():
            return kept
        if kept is not None:
            kept[1].close()
        return await asyncio.open_unix_connection(self._path, limit=4096)

    def close(self) -> None:
        """Ask no more, or on a new connection."""
        if self._idle is not None:
            self._idle[1].close()
        self._idle = None


async def _resolve(target: Target) -> str:
    """Names are resolved here, see ``_target``."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(target.host))  # nothing to resolve, and no thread to wake for it
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return str(found[0][4][0])
