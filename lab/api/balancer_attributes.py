# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes of a Network Load Balancer, its target groups and its listeners, with AWS's defaults.

AWS: Elastic Load Balancing API Reference (2015-12-01), LoadBalancerAttribute, TargetGroupAttribute and ListenerAttribute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from moto.elbv2.exceptions import ValidationError

BALANCER = {
    "access_logs.s3.enabled": "false",
    "access_logs.s3.bucket": "",
    "access_logs.s3.prefix": "",
    "deletion_protection.enabled": "false",
    "dns_record.client_routing_policy": "any_availability_zone",
    "ipv6.deny_all_igw_traffic": "false",
    "load_balancing.cross_zone.enabled": "false",
    "secondary_ips.auto_assigned.per_subnet": "0",
    "zonal_shift.config.enabled": "false",
}
LISTENER = {"tcp.idle_timeout.seconds": "350"}
DELAY = "deregistration_delay.timeout_seconds"
END_FLOWS = "deregistration_delay.connection_termination.enabled"
PRESERVE = "preserve_client_ip.enabled"
CROSS_ZONE = "load_balancing.cross_zone.enabled"
RESET_UNHEALTHY = "target_health_state.unhealthy.connection_termination.enabled"
DRAIN_UNHEALTHY = "target_health_state.unhealthy.draining_interval_seconds"
_GROUP = {
    DELAY: "300",
    END_FLOWS: "false",
    CROSS_ZONE: "use_load_balancer_configuration",
    "proxy_protocol_v2.enabled": "false",
    "stickiness.enabled": "false",
    "stickiness.type": "source_ip",
    "target_group_health.dns_failover.minimum_healthy_targets.count": "1",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": "off",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": "1",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
    RESET_UNHEALTHY: "true",
    DRAIN_UNHEALTHY: "0",
}
RANGES = {DELAY: (0, 3600), DRAIN_UNHEALTHY: (0, 360000), "tcp.idle_timeout.seconds": (60, 6000)}
BOOLEANS = {key for table in (BALANCER, LISTENER, _GROUP) for key, value in table.items() if value in ("true", "false")}


def of_group(protocol: str, target_type: str) -> dict[str, str]:
    """A target group's defaults. Client addresses are kept for instances and for UDP, not for TCP and TLS to addresses."""
    keeps = target_type == "instance" or protocol in ("UDP", "TCP_UDP")
    return {**_GROUP, PRESERVE: "true" if keeps else "false"}


def wrong(what: str, known: Iterable[str], wanted: Mapping[str, str]) -> str | None:
    """The message with which AWS refuses these attributes of a ``what``; None if it takes them."""
    for key, value in wanted.items():
        if key not in known:
            return f"{what} attribute key '{key}' is not recognized"
        low, high = RANGES.get(key, (0, 0))
        if key in RANGES and not (value.isdigit() and low <= int(value) <= high):
            return f"'{key}' value '{value}' must be between '{low}-{high}' inclusive"
        if key in {*BOOLEANS, PRESERVE} and value not in ("true", "false", "use_load_balancer_configuration"):
            return f"'{key}' value '{value}' must be one of [true, false]"
    return None


def require(what: str, known: Iterable[str], wanted: Mapping[str, str]) -> None:
    """Refuse attributes that AWS refuses. Raises ``ValidationError``."""
    message = wrong(what, known, wanted)
    if message:
        raise ValidationError(message)
