# SPDX-License-Identifier: GPL-3.0-or-later
"""The condition keys of a call, as AWS fills them. A key that is not listed here is refused, since a guess would prove nothing.

Sources: IAM User Guide, "AWS global condition context keys" (aws:...; also ec2:SourceInstanceARN, a property of the role session);
Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2" and "... for DynamoDB"; EC2 User Guide,
"Control access to EC2 resources using resource tags" and "Example: ec2:Attribute". That EC2 fills ec2:SourceInstanceARN for
CreateTags, and ec2:Attribute/SourceDestCheck with "true" or "false", is how public policies use them; it was not tried on AWS.
"""

from __future__ import annotations

from typing import Any

from . import backend
from .corrections import primary_interface
from .identity import Principal
from .request import ApiRequest

KEYS = frozenset(
    {
        "aws:principalarn",
        "aws:principalaccount",
        "aws:requestedregion",
        "aws:resourceaccount",
        "aws:sourceip",
        "aws:tagkeys",
        "aws:userid",
        "dynamodb:leadingkeys",
        "ec2:allocationid",
        "ec2:attribute",
        "ec2:createaction",
        "ec2:domain",
        "ec2:instanceid",
        "ec2:networkinterfaceid",
        "ec2:publicipaddress",
        "ec2:region",
        "ec2:routetableid",
        "ec2:sourceinstancearn",
        "ec2:vpc",
    }
)
PREFIXES = ("aws:requesttag/", "aws:resourcetag/", "ec2:attribute/", "ec2:resourcetag/")
# Prefix of an id -> the key that holds the id.
IDS = {
    "i": "ec2:instanceid",
    "rtb": "ec2:routetableid",
    "eni": "ec2:networkinterfaceid",
    "eipalloc": "ec2:allocationid",
}
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


def known(key: str) -> bool:
    """Whether this module fills the key, in any case of letters."""
    return key.lower() in KEYS or key.lower().startswith(PREFIXES)


def arn(model: Any, resource_id: str) -> str:
    """The ARN of an EC2 resource by its id."""
    kind = TYPES.get(resource_id.partition("-")[0], "*")
    return f"arn:aws:ec2:{model.region_name}:{model.account_id}:{kind}/{resource_id}"


def context(model: Any, principal: Principal, request: ApiRequest, resource_id: str) -> dict[str, list[str]]:
    """Condition keys in lower case, with their values, of a call on one resource (empty: on ``*``)."""
    filled = {
        "aws:principalarn": [principal.arn],
        "aws:requestedregion": [request.region],
        "ec2:region": [request.region],
        "aws:principalaccount": [model.account_id],
        "aws:resourceaccount": [model.account_id],
        "aws:sourceip": [request.environ["REMOTE_ADDR"]],
    }
    if principal.instance_id:
        filled["ec2:sourceinstancearn"] = [arn(model, principal.instance_id)]
        filled["aws:userid"] = ["AROA:" + principal.instance_id]
    prefix = resource_id.partition("-")[0]
    if prefix in IDS:
        filled[IDS[prefix]] = [resource_id]
    for key, value in backend.tags(model, resource_id).items() if resource_id else ():
        filled[f"ec2:resourcetag/{key}".lower()] = filled[f"aws:resourcetag/{key}".lower()] = [value]
    requested = request.tags() or request.tags("TagSpecification.1.Tag")
    if requested:
        filled["aws:tagkeys"] = list(requested)
        filled.update(
            {f"aws:requesttag/{key}".lower(): [value] for key, value in requested.items() if value is not None}
        )
    if request.action in ("ModifyInstanceAttribute", "ModifyNetworkInterfaceAttribute"):
        filled.update(_attributes(request))
    for address in model.addresses:
        if address.allocation_id == resource_id:
            filled |= {"ec2:publicipaddress": [address.public_ip], "ec2:domain": [address.domain]}
    vpc_id = _vpc_id(model, resource_id)
    if vpc_id:
        filled["ec2:vpc"] = [arn(model, vpc_id)]
    return filled


def _attributes(request: ApiRequest) -> dict[str, list[str]]:
    """``ec2:Attribute``: the names of what is modified; ``ec2:Attribute/NAME``: the new value of each."""
    given = {name.partition(".")[0]: str(value) for name, value in request.params.items() if name.endswith(".Value")}
    if request.get("Attribute"):
        name = str(request.get("Attribute"))
        given[name[0].upper() + name[1:]] = str(request.get("Value") or "")
    filled = {f"ec2:attribute/{name}".lower(): [value] for name, value in given.items() if value}
    return {**filled, "ec2:attribute": list(given)} if given else filled


def _vpc_id(model: Any, resource_id: str) -> str | None:
    if resource_id in model.route_tables:
        return str(model.route_tables[resource_id].vpc_id)
    if resource_id in model.enis:
        return str(model.enis[resource_id].subnet.vpc_id)
    if resource_id.startswith("i-"):
        interface = next((primary_interface(each) for each in backend.instances(model) if each.id == resource_id), None)
        return str(interface.subnet.vpc_id) if interface is not None else None
    return None
