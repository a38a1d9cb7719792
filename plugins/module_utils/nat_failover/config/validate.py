# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sections of a configuration say together, and the timings without which a law would not hold. Each refusal names the remedy."""

from __future__ import annotations

import typing as t

from ..errors import ConfigError
from ..model.settings import FORWARD, Config, is_ipv6
from .reader import refuse_duplicates


def check(config: Config) -> None:
    """Raise ``ConfigError`` for the first thing that does not fit."""
    for each in (_check_ipv6, _check_canary, _check_timings):
        each(config)


def check_nodes(config: Config) -> None:
    names = [node.name for node in config.nodes]
    if len(names) - len(config.witnesses) < 2:
        raise ConfigError(
            "nodes",
            [name for name in names if name not in config.witnesses],
            "a cluster needs at least two nodes that NAT",
            "add the NAT instance of the other availability zone",
        )
    refuse_duplicates("nodes[].name", names, "give each node a name of its own")
    refuse_duplicates(
        "nodes[].instance_id",
        [node.instance_id for node in config.nodes if node.instance_id],
        "each node is an instance of its own",
    )
    refuse_duplicates(
        "nodes[].address",
        [node.address for node in config.nodes if node.address],
        "each node has an address of its own",
    )
    if config.self_name not in names:
        raise ConfigError(
            "self",
            config.self_name,
            "is not in the list of nodes (%s)" % ", ".join(names),
            "set it to this node's name, or add this node to `nodes`",
        )
    homes: t.Dict[str, str] = {}
    for node in config.nodes:
        for table in node.route_tables:
            if table in homes:
                raise ConfigError(
                    "nodes[].route_tables",
                    table,
                    "is claimed by two homes (%s and %s)" % (homes[table], node.name),
                    "leave it with one node; the other one takes it over when needed",
                )
            homes[table] = node.name
    refuse_duplicates("destinations", list(config.destinations), "name each destination once")


def _check_ipv6(config: Config) -> None:
    if config.nat.has_ipv6:
        return
    for destination in config.destinations:
        if is_ipv6(destination):
            raise ConfigError(
                "destinations",
                destination,
                "is IPv6, and sources hold no IPv6 network: what the route brings would go nowhere",
                "add the clients' network to sources, as a rule the VPC's IPv6 network",
            )
    if config.nat.ipv6 == FORWARD:
        raise ConfigError(
            "ipv6",
            config.nat.ipv6,
            "sources hold no IPv6 network to forward",
            "add the VPC's IPv6 network to sources, or leave this out",
        )


def _check_canary(config: Config) -> None:
    if config.canary.address in [node.address for node in config.nodes]:
        raise ConfigError(
            "canary.address", config.canary.address, "is a node's address", "leave it out, or name one that nobody has"
        )


def _check_timings(config: Config) -> None:
    beat, fence, returns = config.heartbeat, config.fence, config.returns
    if beat.burst_interval * 5 > beat.silent_after:
        raise ConfigError(
            "heartbeat.burst_interval_ms",
            _ms(beat.burst_interval),
            "leaves fewer than 5 probes within silent_after_ms (%d): random loss could fake a death (law L3)"
            % _ms(beat.silent_after),
            "raise silent_after_ms or lower burst_interval_ms",
        )
    if beat.interval * 2 > beat.silent_after:
        raise ConfigError(
            "heartbeat.silent_after_ms",
            _ms(beat.silent_after),
            "is shorter than two heartbeat intervals (%d ms each): one lost packet would decide" % _ms(beat.interval),
            "raise silent_after_ms or lower interval_ms",
        )
    # The slower node needs its own detection, a flare written and a flare read (two API calls, one poll) before anybody may be fenced.
    slowest = beat.interval + beat.silent_after + 2 * (config.ec2.connect_timeout + config.ec2.read_timeout) + 1
    if fence.policy != "none" and config.mode == "full":
        if fence.after < slowest:
            raise ConfigError(
                "fence.after_s",
                fence.after,
                "is shorter than the slower node needs to detect and to show a flare (%.1f s): both could fence each other (law L3)"
                % slowest,
                "raise fence.after_s, or lower ec2.*_timeout_s",
            )
        if fence.stagger < slowest:
            raise ConfigError(
                "fence.stagger_s",
                fence.stagger,
                "is shorter than a detection and a flare (%.1f s): the tie-break would not hold (law L3)" % slowest,
                "raise fence.stagger_s, or lower ec2.*_timeout_s",
            )
    # A quarter of the lease is for a renewal and its reading; the rest is what a holder's last call may take.
    least = 4 * (config.ec2.connect_timeout + config.ec2.read_timeout + 1)
    if config.witness.table and config.witness.lease < least:
        raise ConfigError(
            "witness.lock_lease_s",
            config.witness.lease,
            "is shorter than a holder of the lock needs to renew it (%.1f s): another could take it meanwhile (law L3)"
            % least,
            "raise witness.lock_lease_s, or lower ec2.*_timeout_s",
        )
    if returns.maximum < returns.after:
        raise ConfigError(
            "return.max_s", returns.maximum, "is less than return.after_s (%s)" % returns.after, "raise return.max_s"
        )
    if config.unseen_after < 2 * beat.silent_after:
        raise ConfigError(
            "unseen_after_s",
            config.unseen_after,
            "is less than twice silent_after_ms: a booting peer would be taken for dead",
            "raise unseen_after_s",
        )


def _ms(seconds: float) -> int:
    return int(round(seconds * 1000))
