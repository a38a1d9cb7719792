# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: parse, validate, refuse.

Every mistake that shows without a network is refused here, before anything is changed. One error
names the key, its value and the remedy. ``check-config --online`` refuses mistakes that only EC2
shows, such as a route table that does not exist.
"""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from dataclasses import replace

from ..errors import ConfigError, NatFailoverError, UnreadableFile
from ..model.settings import MODES, Config
from . import addresses, egress, sections, services, validate
from .reader import Form, Reader, refuse_empty
from .sections import PROFILES

# Characters of a heartbeat key. HMAC-SHA256 wants at least its digest's length (RFC 2104, part 3).
KEY_MINIMUM = 32
KEY_REMEDY = "create it with mode 0400, owner nat-failover (the role does), or run this as root"
PATH_REMEDY = "give the path of a readable file with --config"
CLUSTER = Form(
    "name",
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    "use letters, digits, '.', '_' or '-', at most 64, the first one a letter or a digit",
)
REGION = Form("region", r"[a-z]{2,4}(-[a-z]+)+-\d+", "write the name of an AWS region, e.g. eu-west-1")


class Loaded(t.NamedTuple):
    """A configuration with its keys.

    ``digest`` is the SHA-256 of exactly these two files, in hex.
    """

    config: Config
    keys: tuple[bytes, ...]
    digest: str


def load(path: str) -> Config:
    """The configuration of a file. Raises ``ConfigError``."""
    return _parsed(path, _content("config", path, PATH_REMEDY))


def load_all(path: str, key_file: str = "") -> Loaded:
    """The configuration of a file and its keys. Raises ``ConfigError``.

    ``key_file``: read the keys from here in place of the file that the configuration names.
    """
    content = _content("config", path, PATH_REMEDY)
    config = _parsed(path, content)
    keys = _content("key_file", key_file or config.key_file, KEY_REMEDY)
    return Loaded(config, _keys(key_file or config.key_file, keys), digest(content, keys))


def digest(config: bytes, keys: bytes) -> str:
    """The SHA-256 of both files' content, in hex. Two different pairs have different digests."""
    return hashlib.sha256(b"%d\n%s%s" % (len(config), config, keys)).hexdigest()


def _content(key: str, path: str, remedy: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except PermissionError:
        remedy = "run this with sudo, or as a member of the group nat-failover"
        raise UnreadableFile(key, path, "cannot be read: permission denied", remedy) from None
    except OSError as error:
        raise ConfigError(key, path, f"cannot be read: {error.strerror}", remedy) from None


def _parsed(path: str, content: bytes) -> Config:
    try:
        raw = json.loads(content.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        remedy = "let the role nat_instance write it, or correct that line"
        raise ConfigError("config", path, f"is not JSON: {error}", remedy) from None
    return parse(raw)


def _object(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    """A JSON object. Raises ``ValueError`` for a key that is there twice.

    Python's json would silently take the last one.
    """
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _value in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} appears twice in one object")
    return result


def load_keys(path: str) -> tuple[bytes, ...]:
    """The heartbeat keys of a file. Raises ``ConfigError``, which never holds a key."""
    return _keys(path, _content("key_file", path, KEY_REMEDY))


def _keys(path: str, content: bytes) -> tuple[bytes, ...]:
    try:
        return parse_keys(content.decode("utf-8", "replace"))
    except ValueError as error:
        raise ConfigError("key_file", path, str(error), "use e.g. the output of `openssl rand -hex 32`") from None


def parse_keys(text: str) -> tuple[bytes, ...]:
    """The heartbeat keys, one a line.

    The first one signs, and all are accepted: a key can be rotated.

    Raises ``ValueError``. Its text has the line and the length of a bad key, and never the key.
    """
    if not text.isascii():
        raise ValueError("holds characters outside ASCII")
    keys = [line.strip() for line in text.splitlines() if line.strip()]
    if not keys:
        raise ValueError("holds no key")
    for number, key in enumerate(keys, 1):
        if len(key) < KEY_MINIMUM:
            raise ValueError(f"the key in line {number} is too short: {len(key)} of at least {KEY_MINIMUM} characters")
    return tuple(key.encode("ascii") for key in keys)


def check_interface(config: Config, sys_class_net: str = "/sys/class/net") -> None:
    """Raise ``ConfigError`` for an interface that this host does not have (sysfs, /sys/class/net)."""
    if not os.path.exists(os.path.join(sys_class_net, config.interface)):
        there = ", ".join(sorted(os.listdir(sys_class_net))) if os.path.isdir(sys_class_net) else "none"
        raise ConfigError("interface", config.interface, "this host has no such interface", f"choose one of: {there}")


def reload(path: str, present: Config) -> Loaded:
    """The files that a service takes over while it runs with ``present``.

    Raises ``NatFailoverError`` for a setting that needs a restart, ``ConfigError`` for a bad file.
    """
    loaded = load_all(path)
    check_interface(loaded.config)
    if _fixed(loaded.config) != _fixed(present):
        changed = ", ".join(key for key, value in _fixed(loaded.config).items() if value != _fixed(present)[key])
        raise NatFailoverError(
            f"{path}: {changed} cannot change while the service runs; run `systemctl restart nat-failover`"
        )
    return loaded


def _fixed(config: Config) -> dict[str, t.Any]:
    """The settings that a running service cannot change, by their keys in the file."""
    return {
        "self": config.self_name,
        "nodes[].witness of this node": config.me.witness,
        "cluster": config.cluster,
        "region": config.region,
        "heartbeat.port": config.heartbeat.port,
        "runtime_directory": config.runtime_directory,
        "ec2": config.ec2,
        "witness": config.witness,
    }


def parse(raw: t.Any) -> Config:
    """The configuration of a parsed file, with all defaults. Raises ``ConfigError``.

    Shape of ``raw``: docs/architecture.md.
    """
    reader = Reader("", raw)
    cluster = reader.text("cluster", form=CLUSTER)
    self_name = reader.text("self")
    region = reader.text("region", form=REGION)
    mode = reader.choice("mode", MODES, "full")
    profile = reader.choice("profile", tuple(PROFILES), "default")
    destinations = tuple(addresses.destination(text) for text in reader.texts("destinations", ["0.0.0.0/0"]))
    refuse_empty("destinations", destinations, "leave it out for 0.0.0.0/0")
    nodes = tuple(sections.node(index, item) for index, item in enumerate(reader.items("nodes")))
    nat = sections.nat(reader)
    heartbeat = sections.heartbeat(reader.section("heartbeat"), profile)
    sync = egress.state_sync(reader)
    nat = replace(
        nat,
        heartbeat_port=heartbeat.port,
        identities=egress.identities(nodes, self_name, sync),
        sync_peers=egress.sync_peers(nodes, self_name, sync),
    )
    checks = sections.self_check(reader.section("self_check"))
    runtime_directory = reader.path("runtime_directory", "/run/nat-failover")
    config = Config(
        cluster=cluster,
        self_name=self_name,
        region=region,
        mode=mode,
        nodes=nodes,
        destinations=destinations,
        nat=nat,
        heartbeat=heartbeat,
        takeover=sections.takeover(reader.section("takeover"), profile),
        returns=sections.returns(reader.section("return")),
        fence=sections.fence(reader.section("fence")),
        self_check=checks,
        canary=sections.canary(reader.section("canary"), nat, checks, runtime_directory),
        handover=sections.handover(reader.section("handover")),
        ec2=sections.ec2(reader.section("ec2")),
        witness=sections.witness(reader.section("witness")),
        unseen_after=reader.number("unseen_after_s", 10, 1, 600),
        unmanaged_after=reader.number("unmanaged_after_s", 60, 5, 3600),
        key_file=reader.path("key_file", None, "/etc/nat-failover/heartbeat.key"),
        runtime_directory=runtime_directory,
        state_directory=reader.path("state_directory", "/var/lib/nat-failover"),
        services=services.services(reader, destinations),
        state_sync=sync,
    )
    reader.refuse_unknown()
    validate.check_nodes(config)
    if config.me.witness:  # a witness proves no forwarding and writes no witness table
        canary, table = replace(config.canary, enabled=False), replace(config.witness, table=None)
        config = replace(config, canary=canary, witness=table, services=())
    egress.check(config)
    validate.check(config)
    return config
