# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services of the configuration: claims to these destinations depend on more than the node."""

from __future__ import annotations

import ipaddress
import typing as t

from ..errors import ConfigError
from ..model.settings import LocalService
from . import addresses
from .reader import Form, Reader, refuse_duplicates, refuse_empty

MOST = 8  # services of a node: each heartbeat has room for the names of all of them
NAME = Form(
    "name", r"[a-z][a-z0-9_-]{0,31}", "use lower-case letters, digits, '-' or '_', at most 32, the first one a letter"
)
WIDEST = 2  # bits of a network that is not taken for the default route, or a half of it


def services(reader: Reader, destinations: t.Sequence[str]) -> tuple[LocalService, ...]:
    """The list ``services``. ``destinations`` are those of the cluster. Raises ``ConfigError``."""
    found = tuple(_service(index, each, destinations) for index, each in enumerate(reader.items("services", [])))
    if len(found) > MOST:
        raise ConfigError("services", len(found), f"are more than {MOST}", "let one program judge several of them")
    refuse_duplicates("services[].name", [each.name for each in found], "give each service a name of its own")
    refuse_duplicates(
        "services[].destinations",
        [destination for each in found for destination in each.destinations],
        "a destination depends on one service",
    )
    return found


def _service(index: int, raw: t.Any, destinations: t.Sequence[str]) -> LocalService:
    key = f"services[{index}]."
    reader = Reader(key, raw)
    name = reader.text("name", form=NAME)
    file = reader.path("file", None, "/run/aws-ha-egress-health/verdict.json")
    mine = tuple(addresses.destination(text) for text in reader.texts("destinations", None))
    refuse_empty(key + "destinations", mine, "name the destinations that depend on it, e.g. 100.64.99.1/32")
    reader.refuse_unknown()
    for each in mine:
        if not each.startswith("pl-") and ipaddress.ip_network(each).prefixlen < WIDEST:
            raise ConfigError(
                key + "destinations",
                each,
                "is the default route, which must not move because a service on the node is dead",
                "name the /32 by which clients reach the service",
            )
        if each not in destinations:
            raise ConfigError(
                key + "destinations",
                each,
                f"is not among the destinations of the cluster ({', '.join(destinations)})",
                "add it to destinations, or remove it here",
            )
    return LocalService(name, file, mine)
