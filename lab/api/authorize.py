# SPDX-License-Identifier: GPL-3.0-or-later
"""Which resources and condition keys an action is authorized on (AWS: Service Authorization Reference), and the refusal's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import backend, dynamodb
from . import iam_policy as policy
from .corrections import primary_interface
from .errors import ApiError
from .identity import Principal
from .request import ApiRequest

# Prefix of an id -> type in its ARN.
TYPES = {
    "i": "instance",
    "rtb": "route-table",
    "eni": "network-interface",
    "subnet": "subnet",
    "vpc": "vpc",
    "igw": "internet-gateway",
    "eipalloc": "elastic-ip",
    "sg": "security-group",
    "vol": "volume",
    "nat": "natgateway",
    "pl": "prefix-list",
}
# EC2 actions that AWS authorizes on resources, and the parameters that name these. Any other action is authorized on "*".
PARAMETERS: dict[str, tuple[str, ...]] = {
    "CreateRoute": ("RouteTableId",),
    "ReplaceRoute": ("RouteTableId",),
    "DeleteRoute": ("RouteTableId",),
    "DeleteRouteTable": ("RouteTableId",),
    "AssociateRouteTable": ("RouteTableId", "SubnetId"),
    "StartInstances": ("InstanceId",),
    "StopInstances": ("InstanceId",),
    "RebootInstances": ("InstanceId",),
    "TerminateInstances": ("InstanceId",),
    "ModifyInstanceAttribute": ("InstanceId",),
    "DescribeInstanceAttribute": ("InstanceId",),
    "ModifyInstanceMetadataOptions": ("InstanceId",),
    "ModifyNetworkInterfaceAttribute": ("NetworkInterfaceId",),
    "DescribeNetworkInterfaceAttribute": ("NetworkInterfaceId",),
    "CreateTags": ("ResourceId",),
    "DeleteTags": ("ResourceId",),
    "AssociateAddress": ("AllocationId", "InstanceId", "NetworkInterfaceId"),
}


def authorize(model: Any, principal: Principal, request: ApiRequest) -> None:
    """Raise the refusal unless every resource of the call is allowed."""
    if principal.admin or (request.service == "sts" and request.action == "GetCallerIdentity"):
        return
    for action, resource, context in _needs(model, principal, request):
        try:
            verdict = policy.evaluate(principal.policies, action, resource, context)
        except policy.Unsupported as error:
            raise ApiError("LabUnsupportedPolicy", f"The lab's IAM does not model {error}", 501) from None
        if verdict != policy.ALLOWED:
            raise _refusal(request, principal, action, resource, verdict)


def _needs(model: Any, principal: Principal, request: ApiRequest) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
    action = f"{request.service}:{request.action}"
    if request.service == "dynamodb":
        for table in dynamodb.tables(request):
            context = _context(model, principal, request, "")
            keys = dynamodb.leading_keys(model.account_id, request, table)
            if keys:
                context["dynamodb:leadingkeys"] = keys
            yield action, f"arn:aws:dynamodb:{request.region}:{model.account_id}:table/{table}", context
        if dynamodb.tables(request):
            return
    named = [
        value
        for name in PARAMETERS.get(request.action, ())
        for value in (*request.members(name), request.get(name))
        if value
    ]
    if request.service != "ec2" or not named:
        yield action, "*", _context(model, principal, request, "")
    for resource_id in named if request.service == "ec2" else []:
        yield action, _arn(model, resource_id), _context(model, principal, request, resource_id)
    if request.service == "ec2" and request.tags("TagSpecification.1.Tag"):
        # Tags given at creation need CreateTags too, which a policy can tell apart by ec2:CreateAction.
        kind = request.get("TagSpecification.1.ResourceType") or "*"
        context = _context(model, principal, request, "")
        context["ec2:createaction"] = [request.action]
        yield "ec2:CreateTags", f"arn:aws:ec2:{request.region}:{model.account_id}:{kind}/*", context


def _arn(model: Any, resource_id: str) -> str:
    return f"arn:aws:ec2:{model.region_name}:{model.account_id}:{TYPES.get(resource_id.partition('-')[0], '*')}/{resource_id}"


def _context(model: Any, principal: Principal, request: ApiRequest, resource_id: str) -> dict[str, list[str]]:
    context = {
        "aws:principalarn": [principal.arn],
        "aws:requestedregion": [request.region],
        "ec2:region": [request.region],
        "aws:principalaccount": [model.account_id],
        "aws:resourceaccount": [model.account_id],
        "aws:sourceip": [request.environ["REMOTE_ADDR"]],
    }
    if principal.instance_id:
        context["ec2:sourceinstancearn"] = [_arn(model, principal.instance_id)]
        context["aws:userid"] = ["AROA:" + principal.instance_id]
    for key, value in backend.tags(model, resource_id).items() if resource_id else ():
        context[f"ec2:resourcetag/{key}".lower()] = context[f"aws:resourcetag/{key}".lower()] = [value]
    requested = request.tags() or request.tags("TagSpecification.1.Tag")
    if requested:
        context["aws:tagkeys"] = list(requested)
        context.update(
            {f"aws:requesttag/{key}".lower(): [value] for key, value in requested.items() if value is not None}
        )
    if request.action == "ModifyInstanceAttribute":
        attributes = [name.partition(".")[0] for name in request.params if name.endswith(".Value")]
        context["ec2:attribute"] = attributes
    _add_vpc(model, resource_id, context)
    return context


def _add_vpc(model: Any, resource_id: str, context: dict[str, list[str]]) -> None:
    vpc_id = None
    if resource_id in model.route_tables:
        vpc_id = model.route_tables[resource_id].vpc_id
    elif resource_id in model.enis:
        vpc_id = model.enis[resource_id].subnet.vpc_id
    elif resource_id.startswith("i-"):
        interface = next((primary_interface(each) for each in backend.instances(model) if each.id == resource_id), None)
        vpc_id = interface.subnet.vpc_id if interface is not None else None
    if vpc_id:
        context["ec2:vpc"] = [_arn(model, vpc_id)]


def _refusal(request: ApiRequest, principal: Principal, action: str, resource: str, verdict: str) -> ApiError:
    because = (
        f"no identity-based policy allows the {action} action"
        if verdict == policy.IMPLICIT
        else "an explicit deny in an identity-based policy"
    )
    link = "because" if verdict == policy.IMPLICIT else "with"
    message = f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource} {link} {because}"
    if request.service == "ec2":
        return ApiError("UnauthorizedOperation", "You are not authorized to perform this operation. " + message)
    return ApiError("AccessDeniedException" if request.service == "dynamodb" else "AccessDenied", message)
