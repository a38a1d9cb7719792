# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world outside the engine: the EC2 API, the witness table, the host, systemd.

Tests and the simulation pass their own.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..aws import witness_table
from ..aws.ec2 import Ec2
from ..aws.imds import Metadata
from ..host.systemd import sd_notify
from ..model.settings import Config
from ..observe.this_host import Host, ThisHost
from ..runtime.base import Runtime
from ..runtime.real import AsyncioRuntime
from ..wire.codec import new_boot_id
from ..wire.prober import Prober

Runner = t.Callable[..., tuple[int, str, str]]  # (argv, *, timeout, stdin) -> (exit code, stdout, stderr)


@dataclass
class Outside:
    """Everything outside this process that a service uses."""

    ec2: Ec2
    host: Host
    table: witness_table.Table | None = None  # The witness table. None: none is configured
    runtime: Runtime = field(default_factory=AsyncioRuntime)
    prober: Prober = field(default_factory=Prober)  # probes the internet from this node
    metadata: Metadata = field(default_factory=Metadata)  # the instance metadata service
    notify: t.Callable[[str], None] = sd_notify  # systemd's notification socket (sd_notify(3))
    boot_id: str = field(default_factory=new_boot_id)  # of this run of the service


def connect(config: Config, runner: Runner) -> Outside:
    """The real world that a configuration names. This makes no call yet.

    Raises ``NatFailoverError`` without boto3.
    """
    return Outside(connect_ec2(config), ThisHost(runner), witness_table.connect(config))


def connect_ec2(config: Config) -> Ec2:
    """The EC2 adapter with the settings of a configuration.

    Raises ``NatFailoverError`` without boto3.
    """
    return Ec2(
        config.region,
        config.ec2.endpoint_url,
        connect_timeout=config.ec2.connect_timeout,
        read_timeout=config.ec2.read_timeout,
        create_routes=config.ec2.create_routes,
    )
