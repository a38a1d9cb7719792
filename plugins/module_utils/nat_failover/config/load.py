# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file: parse, validate, refuse.

Everything that can be known without a network is refused here, before anything is changed, with one error that names the key,
its value and the remedy. What only EC2 knows (does the table exist?) is refused by ``check-config --online``.
"""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import replace

from ..errors import ConfigError, NatFailoverError
from ..model.settings import MODES, Config
from . import addresses as networks
from . import sections
from . import validate as consistency
from .reader import Reader, refuse_empty
from .sections import PROFILES

KEY_MINIMUM = 32  # characters; HMAC-SHA256 wants at least its digest's length (RFC 2104, section 3)


def load(path: str) -> Config:
    """Read and validate a configuration file; raises ``ConfigError`` only."""
    try:
        with open(path, encoding="utf-8") as stream:
            raw = json.load(stream, object_pairs_hook=_object)
    except OSError as error:
        raise ConfigError(
            "config", path, "cannot be read: %s" % error.strerror, "give the path of a readable file with --config"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            "config", path, "is not JSON: %s" % error, "let the role nat_instance write it, or correct that line"
        ) from None
    return parse(raw)


def _object(pairs: t.List[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    """A JSON object; json itself would silently take the last of two equal keys."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _value in pairs]
        raise ValueError("%r appears twice in one object" % next(key for key in keys if keys.count(key) > 1))
    return result


def load_keys(path: str) -> t.Tuple[bytes, ...]:
    """The heartbeat keys, one a line; the first one signs, all are accepted (so that a key can be rotated)."""
    try:
        with open(path, encoding="ascii") as stream:
            keys = [line.strip() for line in stream if line.strip()]
    except OSError as error:
        raise ConfigError(
            "key_file",
            path,
            "cannot be read: %s" % error.strerror,
            "create it with mode 0640, owner root, group nat-failover (the role does)",
        ) from None
    except ValueError:
        raise ConfigError(
            "key_file", path, "holds characters outside ASCII", "use e.g. `openssl rand -hex 32`"
        ) from None
    if not keys:
        raise ConfigError(
            "key_file",
            path,
            "holds no key",
            "write a line of at least %d characters, e.g. `openssl rand -hex 32`" % KEY_MINIMUM,
        )
    for number, key in enumerate(keys, 1):
        if len(key) < KEY_MINIMUM:
            # The key itself must not reach a log: say its place and length.
            raise ConfigError(
                "key_file",
                path,
                "the key in line %d is too short: %d of at least %d characters" % (number, len(key), KEY_MINIMUM),
                "use e.g. `openssl rand -hex 32`",
            )
    return tuple(key.encode("ascii") for key in keys)


def check_interface(config: Config, sys_class_net: str = "/sys/class/net") -> None:
    """Refuse an interface that this host does not have."""
    if not os.path.exists(os.path.join(sys_class_net, config.interface)):
        there = ", ".join(sorted(os.listdir(sys_class_net))) if os.path.isdir(sys_class_net) else "none"
        raise ConfigError("interface", config.interface, "this host has no such interface", "choose one of: %s" % there)


def reload(path: str, present: Config) -> t.Tuple[Config, t.Tuple[bytes, ...]]:
    """The configuration and the keys for a service that runs with ``present``; raises ``NatFailoverError``."""
    config = load(path)
    keys = load_keys(config.key_file)
    check_interface(config)
    if _fixed(config) != _fixed(present):
        raise NatFailoverError(
            "self, whether it is a witness, cluster, region, heartbeat.port, runtime_directory, ec2 and witness change only with a restart"
        )
    return config, keys


def _fixed(config: Config) -> t.Tuple[t.Any, ...]:
    """What a running service cannot change."""
    return (
        config.self_name,
        config.me.witness,
        config.cluster,
        config.region,
        config.heartbeat.port,
        config.runtime_directory,
        config.ec2,
        config.witness,
    )


def parse(raw: t.Any) -> Config:
    """Validate a parsed configuration (shape: docs/architecture.md) and fill in the defaults."""
    reader = Reader("", raw)
    cluster = reader.text("cluster", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
    self_name = reader.text("self")
    region = reader.text("region", pattern=r"[a-z]{2}(-[a-z]+)+-\d")
    mode = reader.choice("mode", MODES, "full")
    profile = reader.choice("profile", tuple(PROFILES), "default")
    destinations = tuple(networks.destination(d) for d in reader.texts("destinations", ["0.0.0.0/0"]))
    refuse_empty("destinations", destinations, "leave it out for 0.0.0.0/0")
    nodes = tuple(sections.node(index, item) for index, item in enumerate(reader.items("nodes")))
    nat = sections.nat(reader)
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
        heartbeat=sections.heartbeat(reader.section("heartbeat"), profile),
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
    )
    reader.refuse_unknown()
    consistency.check_nodes(config)
    if config.me.witness:  # it has no forwarding to prove, and nothing to write into a table
        canary, table = replace(config.canary, enabled=False), replace(config.witness, table=None)
        config = replace(config, canary=canary, witness=table)
    consistency.check(config)
    return config
