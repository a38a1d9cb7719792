# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: where the kernel lets the proxy's user connect to.

Lists of names are checked by the proxy itself, addresses here.

A name that is allowed may resolve to any address, also to another one at each question. So the last
word is the kernel's, about the address that the proxy really connects to. Own chains, one for each
family, replaced at once: no moment is without rules, and no rule of others is touched.

    proxy_guard.py apply    put the rules in place; does nothing where they are
    proxy_guard.py check    exit 1 and a line when they are not as they must be
    proxy_guard.py remove   take them away, when the proxy is no more
"""

from __future__ import annotations

import ipaddress
import json
import pwd
import socket
import subprocess
import sys
import typing as t

CHAIN = "AWS-HA-PROXY-GUARD"
SETTINGS, RESOLVERS = "/etc/aws-ha-egress/proxy.json", "/etc/resolv.conf"
COMMANDS = {4: "iptables", 6: "ip6tables"}
LIMIT_S = 10.0
WITHOUT_RESOLVERS = "127.0.0.1"  # resolv.conf(5)
Run = t.Callable[[t.Sequence[str], str], str]


class GuardError(Exception):
    """An error with a text for the operator."""


def jumps(uids: t.Sequence[int]) -> tuple[str, ...]:
    """From OUTPUT to the chain, one for each user, as iptables-save prints them."""
    return tuple(f"-A OUTPUT -m owner --uid-owner {uid} -j {CHAIN}" for uid in uids)


def rules(guard: t.Mapping[str, t.Any], resolvers: t.Sequence[str], family: int) -> tuple[str, ...]:
    """The rules of one family in the chain, in order, in the form in which iptables-save prints
    them.

    ``guard`` has ``private`` (networks), ``holes`` (network and port) and ``ports``. Answers to
    clients belong to established connections. Rejecting, not dropping: the proxy can tell its
    client at once.
    """
    length, host = (32, ipaddress.IPv4Address) if family == 4 else (128, ipaddress.IPv6Address)
    icmp = "icmp-admin-prohibited" if family == 4 else "icmp6-adm-prohibited"
    reject = f"-j REJECT --reject-with {icmp}"
    names = [each for each in resolvers if isinstance(ipaddress.ip_address(each), host)]
    lines = ["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]
    for name in names:
        lines += [f"-d {name}/{length} -p {each} -m {each} --dport 53 -j ACCEPT" for each in ("udp", "tcp")]
    for network, port in guard["holes"]:
        if _family(network) == family:
            lines.append(f"-d {_printed(network)} -p tcp -m tcp --dport {port} -j ACCEPT")
    lines.append(f"-m addrtype --dst-type LOCAL {reject}")
    lines += [f"-d {_printed(network)} {reject}" for network in guard["private"] if _family(network) == family]
    lines += [f"-p tcp -m tcp --dport {port} -j ACCEPT" for port in guard["ports"]]
    lines.append(reject)
    return tuple(f"-A {CHAIN} {line}" for line in lines)


def _family(network: str) -> int:
    return ipaddress.ip_network(network).version


def _printed(network: str) -> str:
    """As iptables-save prints it: Python writes IPv4 in IPv6 (::ffff:0.0.0.0/96) in another way
    than the C library.
    """
    parsed = ipaddress.ip_network(network)
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    return f"{socket.inet_ntop(family, parsed.network_address.packed)}/{parsed.prefixlen}"


def read_resolvers(text: str) -> tuple[str, ...]:
    """The addresses of resolv.conf(5), each once; a scope such as ``%eth0`` is left out."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            try:
                found.append(str(ipaddress.ip_address(words[1].partition("%")[0])))
            except ValueError:
                continue
    return tuple(dict.fromkeys(found)) or (WITHOUT_RESOLVERS,)


def differs(saved: str, first: t.Sequence[str], chain: t.Sequence[str]) -> str:
    """The first fault in the output of iptables-save, in words; empty without a fault.

    Foreign rules do not count.

    The jumps (``first``) must be the first rules of OUTPUT: a foreign ACCEPT before them would
    bypass the guard.
    """
    present = [line.strip() for line in saved.splitlines()]
    outputs = [line for line in present if line.startswith("-A OUTPUT ")]
    if outputs[: len(first)] != list(first):
        return f"OUTPUT does not begin with the jumps to {CHAIN}"
    if len(_own_jumps(present)) != len(first):
        return f"OUTPUT has further jumps to {CHAIN}"
    if [line for line in present if line.startswith(f"-A {CHAIN} ")] != list(chain):
        return f"the rules in {CHAIN} are not those of the configuration"
    return ""


def script(saved: str, first: t.Sequence[str], chain: t.Sequence[str]) -> str:
    """The input of iptables-restore --noflush that puts the rules in place in one commit."""
    away = [line.replace("-A OUTPUT", "-D OUTPUT", 1) for line in _own_jumps(saved.splitlines())]
    top = [line.replace("-A OUTPUT", "-I OUTPUT 1", 1) for line in reversed(first)]
    return "\n".join(("*filter", f":{CHAIN} - [0:0]", *chain, *away, *top, "COMMIT", ""))


def removal(saved: str) -> str:
    """The input of iptables-restore --noflush that takes chain and jumps away; empty when there are
    none.
    """
    away = [line.replace("-A OUTPUT", "-D OUTPUT", 1) for line in _own_jumps(saved.splitlines())]
    there = any(line.startswith(f":{CHAIN} ") for line in saved.splitlines())
    chain = [f"-F {CHAIN}", f"-X {CHAIN}"] if there else []
    return "\n".join(("*filter", *away, *chain, "COMMIT", "")) if away or chain else ""


def _own_jumps(lines: t.Iterable[str]) -> list[str]:
    plain = (line.strip() for line in lines)
    return [line for line in plain if line.startswith("-A OUTPUT ") and line.endswith(f" -j {CHAIN}")]


def run(argv: t.Sequence[str], stdin: str = "") -> str:
    """A command that must succeed; its output. Raises ``GuardError``."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GuardError(f"{argv[0]}: {error}") from None
    if done.returncode:
        raise GuardError(f"{argv[0]}: exit code {done.returncode}: {' '.join(done.stderr.split())[:300]}")
    return done.stdout


def work(
    verb: str, settings: t.Mapping[str, t.Any], uids: t.Sequence[int], resolvers: t.Sequence[str], runner: Run = run
) -> list[str]:
    """Do it for both families and for each user; what was found or done, in words.

    Raises ``GuardError``.
    """
    told = []
    for family, command in COMMANDS.items():
        try:
            saved = runner([command + "-save", "-t", "filter"], "")
        except GuardError:
            if family == 6 and not _has_ipv6():
                continue  # a kernel without IPv6 has no way to go round
            raise
        wanted = (jumps(uids), rules(settings["guard"], resolvers, family))
        found = differs(saved, *wanted) if verb != "remove" else ""
        text = removal(saved) if verb == "remove" else script(saved, *wanted) if found else ""
        if text and verb != "check":
            runner([command + "-restore", "--noflush", "--wait", "5"], text)
        if text:
            told.append("{}: {}".format(command, found or f"{CHAIN} removed"))
    return told


def known_users(names: t.Sequence[str]) -> list[int]:
    """The numbers of those that exist.

    The user of the engine that serves must; that of the other one is there after a change of
    engine.
    """
    found = []
    for name in names:
        try:
            found.append(pwd.getpwnam(name).pw_uid)
        except KeyError:
            if name == names[0]:
                raise GuardError(f"there is no user {name}; is the package of the proxy installed?") from None
    return found


def _has_ipv6() -> bool:
    try:
        with open("/proc/net/if_inet6", encoding="ascii"):
            return True
    except OSError:
        return False


def main(arguments: t.Sequence[str]) -> int:
    """Exit code 0, 1 (check found a difference) or 2 (it could not be done)."""
    if len(arguments) != 1 or arguments[0] not in ("apply", "check", "remove"):
        print("proxy_guard.py: say apply, check or remove", file=sys.stderr)
        return 2
    try:
        with open(SETTINGS, encoding="utf-8") as stream:
            settings = json.load(stream)
        try:
            with open(RESOLVERS, encoding="utf-8", errors="replace") as stream:
                resolvers = read_resolvers(stream.read())
        except FileNotFoundError:
            resolvers = (WITHOUT_RESOLVERS,)
        told = work(arguments[0], settings, known_users(settings["users"]), resolvers)
    except (GuardError, OSError, ValueError, KeyError) as error:
        print(f"proxy guard: {arguments[0]} failed: {error}", file=sys.stderr)
        return 2
    for line in told:
        print("proxy guard: {}{}".format(line, "" if arguments[0] != "apply" else ", put in place"))
    return 1 if told and arguments[0] == "check" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
