# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a proxy client, program by program.

Pure. Bad input is one ``ValueError`` in the user's terms.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

# Destinations that must never go through a proxy. Through it, a client reads the metadata of the
# proxy's node, credentials included.
ALWAYS_DIRECT = ("localhost", "127.0.0.1", "169.254.169.254", "fd00:ec2::254")
MADE = "Made by Ansible, role aws_ha.egress.proxy_client. The way back: proxy_client_state: absent"
# The parts of a client, each with a file of the role alone, so that the way back is to remove it.
FILES = {
    "apt": "/etc/apt/apt.conf.d/95aws-ha-egress-proxy",
    "dnf": "/etc/dnf/dnf.conf",
    "environment": "/etc/profile.d/aws-ha-egress-proxy.sh",
    "pip": "/etc/pip.conf",
}
# These belong to others: a block of lines between marks is the role's there.
SHARED = ("dnf",)
DROP_IN = "/etc/systemd/system/{}.d/aws-ha-egress-proxy.conf"
URL = re.compile(r"http://(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):(\d{1,5})/?")
UNIT = re.compile(r"[A-Za-z0-9:_.@-]+\.(service|socket)")
NAME = re.compile(r"\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


def plan(given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """``files`` (path to content), ``block`` (lines for dnf), ``units``, ``warnings``.

    Raises ``ValueError``.

    ``given`` has the role's variables without their prefix, and ``is_node``: whether the host
    serves the proxy itself.
    """
    if given["is_node"]:
        raise ValueError(
            "proxy_client: {} is in the group {}, so it serves the proxy; a node is no client, since a load balancer does not lead a "
            "target back to itself; run this on clients only".format(given["host"], given["group"])
        )
    url = _url(given["url"])
    direct, warnings = _direct(given["no_proxy"])
    units = [_unit(each) for each in given["services"]]
    files = {FILES[part]: _CONTENTS[part](url, direct) for part in given["parts"] if part not in SHARED}
    files.update((DROP_IN.format(unit), _drop_in(url, direct)) for unit in units)
    return {
        "files": files,
        "block": _dnf(url, direct) if "dnf" in given["parts"] else "",
        "units": units,
        "warnings": warnings,
        "no_proxy": ",".join(direct),
    }


def _url(text: str) -> str:
    match = URL.fullmatch(text)
    if not match or not 1 <= int(match[2]) <= 65535:
        raise ValueError(f"proxy_client_url: {text!r} is no address of a proxy; write e.g. http://100.64.99.1:3128")
    return text.rstrip("/")


def _unit(text: str) -> str:
    if not UNIT.fullmatch(text):
        raise ValueError(f"proxy_client_services: {text!r} is no name of a service; write e.g. docker.service")
    return text


def _direct(entries: t.Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """All that goes without the proxy, and a word on each entry that not all programs understand."""
    warnings = []
    for entry in entries:
        if entry.startswith("*"):
            raise ValueError(
                f"proxy_client_no_proxy: {entry!r} means nothing to curl, wget, Python and botocore; write {entry.lstrip('*') or '.zone'}"
            )
        if "/" in entry:
            try:
                ipaddress.ip_network(entry)
            except ValueError:
                raise ValueError(f"proxy_client_no_proxy: {entry!r} is neither a name nor a network") from None
            warnings.append(
                f"proxy_client_no_proxy: {entry}: wget, Python's urllib and botocore do not understand networks; name hosts or zones, too"
            )
        elif not NAME.fullmatch(entry) and not _is_address(entry):
            raise ValueError(
                f"proxy_client_no_proxy: {entry!r} is no name; write e.g. .internal.example or host.example"
            )
    return in_all_forms((*ALWAYS_DIRECT, *entries)), warnings


def in_all_forms(entries: t.Iterable[str]) -> tuple[str, ...]:
    """The entries, each once, and IPv6 addresses with brackets as well: urllib and botocore compare
    the host as it is in the URL.
    """
    forms = (each for entry in entries for each in ((entry, f"[{entry}]") if _is_ipv6(entry) else (entry,)))
    return tuple(dict.fromkeys(forms))


def _is_ipv6(text: str) -> bool:
    return ":" in text and _is_address(text)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def variables(url: str, direct: t.Sequence[str]) -> dict[str, str]:
    """The variables of the environment.

    Programs differ in whether they read them in small letters or in capitals.
    """
    small = {"http_proxy": url, "https_proxy": url, "no_proxy": ",".join(direct)}
    return {**small, **{name.upper(): value for name, value in small.items()}}


def _environment(url: str, direct: t.Sequence[str]) -> str:
    lines = [f"export {name}={value}" for name, value in variables(url, direct).items()]
    return "\n".join([f"# {MADE}", *lines, ""])


def _drop_in(url: str, direct: t.Sequence[str]) -> str:
    lines = [f'Environment="{name}={value}"' for name, value in variables(url, direct).items()]
    return "\n".join([f"# {MADE}", "[Service]", *lines, ""])


def _apt(url: str, direct: t.Sequence[str]) -> str:
    """apt.conf(5). It has exceptions by host, not by zone."""
    hosts = [each for each in direct if not each.startswith(".") and "/" not in each and ":" not in each]
    lines = [f'Acquire::{scheme}::Proxy "{url}";' for scheme in ("http", "https")]
    lines += [f'Acquire::{scheme}::Proxy::{host} "DIRECT";' for host in hosts for scheme in ("http", "https")]
    return "\n".join([f"// {MADE}", *lines, ""])


def _pip(url: str, _direct: t.Sequence[str]) -> str:
    """pip reads no_proxy from the environment."""
    return "\n".join([f"# {MADE}", "[global]", f"proxy = {url}", ""])


def _dnf(url: str, _direct: t.Sequence[str]) -> str:
    """dnf.conf(5): no exceptions there; a repository with proxy=_none_ goes without."""
    return f"proxy={url}"


_CONTENTS: t.Mapping[str, t.Callable[[str, t.Sequence[str]], str]] = {
    "apt": _apt,
    "environment": _environment,
    "pip": _pip,
}
