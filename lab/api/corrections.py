# SPDX-License-Identifier: GPL-3.0-or-later
"""Where moto's models themselves differ from AWS. Only properties that derive from the model's own state: nothing of a lab is kept here."""

from __future__ import annotations

import functools
from typing import Any

from moto.core import responses
from moto.ec2.models.instances import Instance
from moto.ec2.models.route_tables import Route, RouteBackend
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, filter_dict_attribute_mapping, generate_route_id

from . import address_views, balancers, target_groups

GONE = ("stopped", "terminated")


def primary_interface(instance: Any) -> Any:
    """The interface of device index 0, or None (an instance that is being made, or has lost it)."""
    return getattr(instance, "nics", {}).get(0)


def target_instance(route: Any) -> Any:
    """The instance behind a route's target, given as an instance or as an interface."""
    if route.instance is not None:
        return route.instance
    return route.interface.instance if route.interface is not None else None


def target_interface(route: Any) -> Any:
    """The interface behind a route's target, given as an instance or as an interface."""
    return (
        route.interface
        if route.interface is not None
        else (primary_interface(route.instance) if route.instance is not None else None)
    )


def _route_state(route: Any) -> str:
    """AWS: blackhole once the target's instance is stopped or terminated, or the interface is attached to nothing. Not while stopping."""
    if route.instance is None and route.interface is None:
        return "active"
    instance = target_instance(route)
    if instance is None or instance.state in GONE:
        return "blackhole"
    interface = target_interface(route)
    return "active" if interface is not None and interface.id in interface.ec2_backend.enis else "blackhole"


def _route_instance_id(route: Any) -> str | None:
    """AWS shows the instance for an interface target too; after a termination only the dangling interface is left."""
    instance = target_instance(route)
    return instance.id if instance is not None and instance.state != "terminated" else None


def _route_instance_owner_id(route: Any) -> str | None:
    instance = target_instance(route)
    return instance.owner_id if instance is not None and instance.state != "terminated" else None


def _route_interface_id(route: Any) -> str | None:
    interface = target_interface(route)
    return interface.id if interface is not None else None


def _profile_arn(instance: Any) -> str | None:
    """For the filter iam-instance-profile.arn of DescribeInstances, which moto does not know."""
    associations = instance.ec2_backend.iam_instance_profile_associations.values()
    return next((each.iam_instance_profile.arn for each in associations if each.instance.id == instance.id), None)


def _get_check(instance: Any) -> bool:
    interface = primary_interface(instance)
    return interface.source_dest_check if interface is not None else True


def _set_check(instance: Any, value: bool) -> None:
    """AWS has one flag, the one of the primary interface. An instance without interfaces yet keeps none."""
    interface = primary_interface(instance)
    if interface is not None:
        interface.source_dest_check = value


def _status(kind: str) -> Any:
    def status(instance: Any) -> dict[str, Any]:
        if instance.state != "running":
            return {"Status": "not-applicable"}
        value = getattr(instance, "lab_" + kind, "ok")
        detail = {"ok": "passed", "initializing": "initializing"}.get(value, "failed")
        return {"Status": value, "Details": [{"Name": "reachability", "Status": detail}]}

    return property(status)


def set_status(instance: Any, instance_status: str = "ok", system_status: str = "ok") -> None:
    """The later answers of DescribeInstanceStatus for a running instance."""
    instance.lab_instance_status, instance.lab_system_status = instance_status, system_status


_create_route = RouteBackend.create_route


def _create_route_to_list(
    self: Any,
    route_table_id: str,
    destination_cidr_block: str | None,
    destination_ipv6_cidr_block: str | None = None,
    destination_prefix_list_id: str | None = None,
    **options: Any,
) -> Any:
    """moto forgets the prefix list of a route to an interface, and keeps the route under no destination. Its names, since it passes them by name."""
    prefix_list = destination_prefix_list_id
    route = _create_route(
        self, route_table_id, destination_cidr_block, destination_ipv6_cidr_block, prefix_list, **options
    )
    if prefix_list and route.destination_prefix_list is None:
        del route.route_table._routes[route.id]
        route.id = generate_route_id(route.route_table.id, None, None, prefix_list)
        route.destination_prefix_list = self.managed_prefix_lists[prefix_list]
        route.route_table._routes[route.id] = route
    return route


CORRECTED: tuple[tuple[Any, str, Any], ...] = (
    (Route, "state", property(_route_state)),
    (Route, "instance_id", property(_route_instance_id)),
    (Route, "instance_owner_id", property(_route_instance_owner_id)),
    (Route, "network_interface_id", property(_route_interface_id)),
    (RouteBackend, "create_route", _create_route_to_list),
    (Instance, "source_dest_check", property(_get_check, _set_check)),
    (Instance, "instance_status", _status("instance_status")),
    (Instance, "system_status", _status("system_status")),
    (Instance, "lab_profile_arn", property(_profile_arn)),
    # For each call moto looks through all methods of the service, which takes longer than the rest of the call.
    (responses, "method_names_from_class", functools.cache(vars(responses)["method_names_from_class"])),
)


@functools.cache
def install() -> None:
    """Correct moto's classes, once per process."""
    for owner, name, value in (*CORRECTED, *address_views.CORRECTED, *balancers.CORRECTED, *target_groups.CORRECTED):
        setattr(owner, name, value)
    filter_dict_attribute_mapping["iam-instance-profile.arn"] = "lab_profile_arn"
    EC2_PREFIX_TO_RESOURCE["eipalloc"] = (
        "elastic-ip"  # the resource type that DescribeTags says, where moto says vpc-elastic-ip
    )
