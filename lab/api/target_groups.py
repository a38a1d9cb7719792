# SPDX-License-Identifier: GPL-3.0-or-later
"""Where moto's target groups differ from those of AWS's Network Load Balancer. Their state is kept on moto's own object.

Only groups of the protocols TCP, TLS and UDP are corrected; the others stay moto's.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.ec2.exceptions import InvalidInstanceIdError
from moto.elbv2 import models
from moto.elbv2.exceptions import InvalidTargetError, TargetGroupNotFoundError, TargetNotRunning, ValidationError

from . import balancer_attributes as attributes
from .target_health import (
    DEREGISTERING,
    NOT_IN_USE,
    NOT_REGISTERED,
    STOPPED,
    ZONE_NOT_ENABLED,
    Check,
    Health,
    Target,
)

PROTOCOLS = ("TCP", "TLS", "UDP", "TCP_UDP")


@dataclass
class Delays:
    """Seconds that AWS takes before a registration, and before a verdict, has its effect. Minutes there; nothing here unless wanted."""

    registration_s: float = 0.0
    propagation_s: float = 0.0


def targets(group: Any) -> dict[tuple[str, int], Target]:
    """The targets of a group by (id, port), also those that drain. One whose deregistration delay is over is gone."""
    found: dict[tuple[str, int], Target] = group.__dict__.setdefault("lab_targets", {})
    end = time.monotonic() - float(group.attributes[attributes.DELAY])
    for key in [key for key, each in found.items() if each.removed_at is not None and each.removed_at <= end]:
        gone(group)[key] = found.pop(key)
    return found


def gone(group: Any) -> dict[tuple[str, int], Target]:
    """The targets whose deregistration delay is over and that were not registered again."""
    found: dict[tuple[str, int], Target] = group.__dict__.setdefault("lab_gone", {})
    return found


def check_of(group: Any) -> Check:
    """How a group checks."""
    port = str(group.health_check_port or "traffic-port")
    return Check(
        str(group.health_check_protocol),
        int(port) if port.isdigit() else None,
        group.health_check_path or "/",
        float(group.health_check_interval_seconds),
        float(group.health_check_timeout_seconds),
        int(group.healthy_threshold_count),
        int(group.unhealthy_threshold_count),
        (getattr(group, "matcher", None) or {}).get("HttpCode", "200-399"),
    )


def groups(backend: Any) -> Iterator[Any]:
    """The target groups that are checked: those of network load balancers with targets of instances or addresses."""
    for group in list(backend.target_groups.values()):
        if group.protocol in PROTOCOLS and group.target_type in ("instance", "ip"):
            yield group


def balancers_of(backend: Any, group: Any) -> list[Any]:
    """The load balancers that have a listener which forwards to a group."""
    return [
        balancer
        for balancer in backend.load_balancers.values()
        if any(group.arn in forwards_to(backend, listener) for listener in balancer.listeners.values())
    ]


def forwards_to(backend: Any, listener: Any) -> list[str]:
    """The ARNs of the groups that a listener forwards to."""
    return [arn for action in listener.default_actions for arn in backend._get_target_group_arns_from(action.data)]


def health(backend: Any, group: Any, target: Target, delays: Delays) -> Health:
    """The state of a registered target now."""
    if target.removed_at is not None:
        return DEREGISTERING
    users = balancers_of(backend, group)
    if not users:
        return NOT_IN_USE
    instance = instance_of(backend, target.id)
    if instance is not None:
        if instance.state in ("stopping", "stopped"):
            return STOPPED
        zones = {subnet.availability_zone for balancer in users for subnet in balancer.subnets}
        if instance.nics[0].subnet.availability_zone not in zones:
            return ZONE_NOT_ENABLED
    return target.health(
        time.monotonic(),
        registration_s=delays.registration_s,
        unhealthy_draining_s=float(group.attributes[attributes.DRAIN_UNHEALTHY]),
    )


def instance_of(backend: Any, target_id: str) -> Any:
    """The instance behind a target's id, None for an address."""
    if not target_id.startswith("i-"):
        return None
    try:
        return backend.ec2_backend.get_instance(target_id)
    except InvalidInstanceIdError:
        raise InvalidTargetError() from None


def address_of(backend: Any, target_id: str) -> str:
    """Where a target is reached."""
    instance = instance_of(backend, target_id)
    return str(instance.nics[0].private_ip_address) if instance is not None else target_id


def _register(group: Any, wanted: list[dict[str, Any]]) -> None:
    """All or none. A target that drains is registered again, and is checked again."""
    backend = models.elbv2_backends[group.account_id][group.region_name]
    keys = [_key(group, each) for each in wanted]
    for target_id, _port in keys:
        _admit(backend, group, target_id)
    known = targets(group)
    for key in keys:
        if key not in known or known[key].removed_at is not None:
            known[key] = Target(*key, time.monotonic(), address_of(backend, key[0]))
            gone(group).pop(key, None)


def _admit(backend: Any, group: Any, target_id: str) -> None:
    if group.target_type == "instance":
        instance = instance_of(backend, target_id)
        if instance is None or instance.vpc_id != group.vpc_id:
            raise InvalidTargetError()
        if instance.state != "running":
            raise TargetNotRunning(target_id)
    elif group.target_type == "ip":
        try:
            ipaddress.ip_address(target_id)
        except ValueError:
            raise ValidationError(f"The IP address '{target_id}' is not a valid IPv4 address") from None


def _deregister(group: Any, wanted: list[dict[str, Any]]) -> None:
    """AWS (DeregisterTargets): a target that is not registered is no error. Without a port, each port of the id goes."""
    for each in wanted:
        for key, target in targets(group).items():
            if key[0] == each["Id"] and each.get("Port") in (None, key[1], str(key[1])) and target.removed_at is None:
                target.removed_at = time.monotonic()


def _deregister_terminated(group: Any, instance_ids: list[str]) -> None:
    _deregister(group, [{"Id": each} for each in instance_ids])


def _key(group: Any, target: dict[str, Any]) -> tuple[str, int]:
    return str(target["Id"]), int(target.get("Port") or group.port)


def _describe_health(backend: Any, target_group_arn: str, wanted: list[dict[str, Any]]) -> list[Any]:
    group = backend.target_groups.get(target_group_arn)
    if group is None:
        raise TargetGroupNotFoundError()
    known = targets(group)
    found = []
    for key in [_key(group, each) for each in wanted] or list(known):
        state = health(backend, group, known[key], delays(backend)) if key in known else NOT_REGISTERED
        port = check_of(group).port or key[1]
        found.append(
            models.FakeHealthStatus(key[0], str(key[1]), str(port), state.state, state.reason, state.description)
        )
    return found


def delays(backend: Any) -> Delays:
    """The delays of one account and region; the control ``balancer`` sets them."""
    found: Delays = backend.__dict__.setdefault("lab_delays", Delays())
    return found


_new_group = models.FakeTargetGroup.__init__
_modify_group = models.ELBv2Backend.modify_target_group_attributes


def _init_group(group: Any, *arguments: Any, **options: Any) -> None:
    _new_group(group, *arguments, **options)
    if group.protocol in PROTOCOLS:
        group.attributes = attributes.of_group(group.protocol, group.target_type)
        group.matcher = options.get("matcher") or {"HttpCode": "200-399"}


def _set_group(backend: Any, target_group_arn: str, wanted: dict[str, str]) -> None:
    group = backend.target_groups.get(target_group_arn)
    if group is not None and group.protocol in PROTOCOLS:
        known = {**attributes.of_group(group.protocol, group.target_type)}
        attributes.require("Target group", known, wanted)
    _modify_group(backend, target_group_arn, wanted)


CORRECTED: tuple[tuple[Any, str, Any], ...] = (
    (models.FakeTargetGroup, "__init__", _init_group),
    (models.FakeTargetGroup, "register", _register),
    (models.FakeTargetGroup, "deregister", _deregister),
    (models.FakeTargetGroup, "deregister_terminated_instances", _deregister_terminated),
    (models.ELBv2Backend, "describe_target_health", _describe_health),
    (models.ELBv2Backend, "modify_target_group_attributes", _set_group),
)
