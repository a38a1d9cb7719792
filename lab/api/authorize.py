# SPDX-License-Identifier: GPL-3.0-or-later
"""Which resources an action is authorized on (AWS: Service Authorization Reference), and the refusal's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import addresses, conditions, dynamodb, iam_policy
from .errors import ApiError
from .identity import Principal
from .request import ApiRequest

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
    "ModifyNetworkInterfaceAttribute": ("NetworkInterfaceId", "SecurityGroupId"),
    "DescribeNetworkInterfaceAttribute": ("NetworkInterfaceId",),
    "CreateTags": ("ResourceId",),
    "DeleteTags": ("ResourceId",),
    "AssociateAddress": ("AllocationId", "InstanceId", "NetworkInterfaceId"),
    "ReleaseAddress": ("AllocationId",),
    "AssignPrivateIpAddresses": ("NetworkInterfaceId",),
    "UnassignPrivateIpAddresses": ("NetworkInterfaceId",),
}
# A resource that an action makes is authorized before it has an id.
MADE = {"AllocateAddress": "elastic-ip"}


def authorize(model: Any, principal: Principal, request: ApiRequest) -> None:
    """Raise the refusal unless every resource of the call is allowed."""
    if principal.admin or (request.service == "sts" and request.action == "GetCallerIdentity"):
        return
    for action, resource, context in _needs(model, principal, request):
        try:
            verdict = iam_policy.evaluate(principal.policies, action, resource, context, conditions.known)
        except iam_policy.Unsupported as error:
            raise ApiError("LabUnsupportedPolicy", f"The lab's IAM does not model {error}", 501) from None
        if verdict != iam_policy.ALLOWED:
            raise _refusal(request, principal, action, resource, verdict)


def _needs(model: Any, principal: Principal, request: ApiRequest) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
    action = f"{request.service}:{request.action}"
    if request.service == "dynamodb":
        for table in dynamodb.tables(request):
            context = conditions.context(model, principal, request, "")
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
    if request.service == "ec2":
        named += addresses.named(model, request)
    if request.service == "ec2" and request.action in MADE:
        made = f"arn:aws:ec2:{request.region}:{model.account_id}:{MADE[request.action]}/*"
        yield action, made, conditions.context(model, principal, request, "")
    elif request.service != "ec2" or not named:
        yield action, "*", conditions.context(model, principal, request, "")
    for resource_id in named if request.service == "ec2" else []:
        yield action, conditions.arn(model, resource_id), conditions.context(model, principal, request, resource_id)
    if request.service == "ec2" and request.tags("TagSpecification.1.Tag"):
        # Tags given at creation need CreateTags too, which a policy can tell apart by ec2:CreateAction.
        kind = request.get("TagSpecification.1.ResourceType") or "*"
        context = conditions.context(model, principal, request, "")
        context["ec2:createaction"] = [request.action]
        yield "ec2:CreateTags", f"arn:aws:ec2:{request.region}:{model.account_id}:{kind}/*", context


def _refusal(request: ApiRequest, principal: Principal, action: str, resource: str, verdict: str) -> ApiError:
    because = (
        f"no identity-based policy allows the {action} action"
        if verdict == iam_policy.IMPLICIT
        else "an explicit deny in an identity-based policy"
    )
    link = "because" if verdict == iam_policy.IMPLICIT else "with"
    message = f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource} {link} {because}"
    if request.service == "ec2":
        return ApiError("UnauthorizedOperation", "You are not authorized to perform this operation. " + message)
    return ApiError("AccessDeniedException" if request.service == "dynamodb" else "AccessDenied", message)
