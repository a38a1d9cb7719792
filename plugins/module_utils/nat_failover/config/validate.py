# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions between the sections of a configuration.

Among them are the timings that the laws of docs/safety.md rest on. Each refusal names the remedy.
"""

from __future__ import annotations

from ..errors import ConfigError
from ..model.nat import FORWARD, is_ipv6
from ..model.settings import Config
from .reader import refuse_duplicates

# Seconds: the age of a reading of EC2 that an early takeover may rest on, at the most
OLDEST_READING = 15.0


def check(config: Config) -> None:
    """Raise ``ConfigError`` for the first condition that does not hold."""
    for each in (
        _check_ipv6,
        _check_canary,
        _check_heartbeat,
        _check_early,
        _check_fence,
        _check_lease,
        _check_returns,
    ):
        each(config)


def check_nodes(config: Config) -> None:
    """Raise ``ConfigError`` for nodes, tables or destinations that do not fit each other."""
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
            f"is not in the list of nodes ({', '.join(names)})",
            "set it to this node's name, or add this node to `nodes`",
        )
    homes: dict[str, str] = {}
    for node in config.nodes:
        for table in node.route_tables:
            if table in homes:
                raise ConfigError(
                    "nodes[].route_tables",
                    table,
                    f"is claimed by two homes ({homes[table]} and {node.name})",
                    "name it under one node only; another node adopts it if that one fails",
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
                "is IPv6, and sources hold no IPv6 network: this node would translate none of its packets",
                "add the clients' IPv6 network to sources, as a rule that of the VPC",
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
        remedy = "leave it out, or choose an address that no host has"
        raise ConfigError("canary.address", config.canary.address, "is a node's address", remedy)


def _check_heartbeat(config: Config) -> None:
    """Random loss, one late packet and a slow boot must not look like a death (law L3, fencing)."""
    beat = config.heartbeat
    if beat.burst_interval * 5 > beat.silent_after:
        raise ConfigError(
            "heartbeat.burst_interval_ms",
            _ms(beat.burst_interval),
            f"leaves fewer than 5 probes within silent_after_ms ({_ms(beat.silent_after)}): random packet loss could "
            "look like a death (law L3, fencing)",
            "raise silent_after_ms or lower burst_interval_ms",
        )
    if beat.interval * 2 > beat.silent_after:
        raise ConfigError(
            "heartbeat.silent_after_ms",
            _ms(beat.silent_after),
            f"is shorter than two heartbeat intervals ({_ms(beat.interval)} ms each): one lost packet would look like "
            "a death",
            "raise silent_after_ms or lower interval_ms",
        )
    if config.unseen_after < 2 * beat.silent_after:
        raise ConfigError(
            "unseen_after_s",
            config.unseen_after,
            f"is less than twice silent_after_ms ({_ms(beat.silent_after)}): a booting peer would look dead",
            "raise unseen_after_s",
        )


def _check_early(config: Config) -> None:
    """A takeover must not write over an edit that is older than ``OLDEST_READING`` (law L8, drift)."""
    age = config.ec2.reading_age
    if config.takeover.early and age > OLDEST_READING:
        raise ConfigError(
            "takeover.early",
            config.takeover.early,
            f"lets a takeover rest on what EC2 showed up to {age:.1f} s ago, more than {OLDEST_READING:.0f} s: it "
            "could write over an edit of the route that is as old (law L8, drift)",
            f"lower ec2.poll_s ({config.ec2.poll}), or set this to false (the profile fast sets it to true)",
        )


def _check_fence(config: Config) -> None:
    """The slower of two nodes must have time for its flare before a fence (law L3, fencing)."""
    beat, fence = config.heartbeat, config.fence
    if fence.policy == "none" or config.mode != "full":
        return
    # Seconds for the detection of the slower node, one API call to write its flare, and one to
    # read it, with one second for the poll.
    slowest = beat.interval + beat.silent_after + 2 * (config.ec2.connect_timeout + config.ec2.read_timeout) + 1
    if fence.after < slowest:
        raise ConfigError(
            "fence.after_s",
            fence.after,
            f"is shorter than the {slowest:.1f} s that the slower node needs to detect a silence and to show a flare: "
            "both nodes could fence each other (law L3, fencing)",
            "raise fence.after_s, or lower ec2.connect_timeout_s and ec2.read_timeout_s",
        )
    if fence.stagger < slowest:
        raise ConfigError(
            "fence.stagger_s",
            fence.stagger,
            f"is shorter than the {slowest:.1f} s of a detection and a flare: two nodes could fence at once (law L3, "
            "fencing)",
            "raise fence.stagger_s, or lower ec2.connect_timeout_s and ec2.read_timeout_s",
        )


def _check_lease(config: Config) -> None:
    """The holder of the fence lock must be able to renew it in time."""
    # The holder acts in the first quarter of the lease: it fits one call to renew and one second to
    # read the answer.
    least = 4 * (config.ec2.connect_timeout + config.ec2.read_timeout + 1)
    if config.witness.table and config.witness.lease < least:
        raise ConfigError(
            "witness.lock_lease_s",
            config.witness.lease,
            f"is shorter than the {least:.1f} s that a holder of the fence lock needs to renew it: another node could "
            "take the lock meanwhile (law L3, fencing)",
            "raise witness.lock_lease_s, or lower ec2.connect_timeout_s and ec2.read_timeout_s",
        )


def _check_returns(config: Config) -> None:
    returns = config.returns
    if returns.maximum < returns.after:
        raise ConfigError(
            "return.max_s", returns.maximum, f"is less than return.after_s ({returns.after})", "raise return.max_s"
        )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
