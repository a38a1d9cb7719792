# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources on which the actions on Elastic IPs and private addresses are authorized, where plain moto differs from AWS.

Source: IAM, Service Authorization Reference, "Actions, resources, and condition keys for Amazon EC2".
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from lab import egress as egress_addresses
from lab import node_role
from lab.api import backend
from lab.running_api import running_api
from lab.tags import CLUSTER, CLUSTER_TAG

ARN = "arn:aws:ec2:eu-west-1:123456789012:"


def allow(action: str, resource: str, **condition: Any) -> dict[str, Any]:
    made = {"Effect": "Allow", "Action": f"ec2:{action}", "Resource": ARN + resource}
    return {**made, "Condition": condition} if condition else made


def test_each_action_is_authorized_on_what_it_touches() -> None:
    with running_api(enforce_iam=True, instance_type="t3.small") as api:
        a, b = api.ids.zones["a"], api.ids.zones["b"]
        with api.api.lock:
            egress = egress_addresses.add(api.ids)
            free = api.api.model.allocate_address("vpc").allocation_id
            held = api.api.model.address_by_allocation([a.allocation_id])[0].association_id
        ec2 = api.client(node="nat-b")

        def allowed(call: str, parameters: dict[str, Any], *statements: dict[str, Any]) -> bool:
            document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            with api.api.lock:
                backend.iam().put_role_policy("lab-nat-b", node_role.POLICY, document)
            try:
                getattr(ec2, call)(**parameters)
            except ClientError as error:
                assert error.response["Error"]["Code"] == "UnauthorizedOperation"
                return False
            return True

        elastic, interface = f"elastic-ip/{egress['a'].allocation_id}", f"network-interface/{b.interface_id}"
        move = {
            "AllocationId": egress["a"].allocation_id,
            "NetworkInterfaceId": b.interface_id,
            "PrivateIpAddress": egress["a"].waiting["b"],
        }
        both = allow("AssociateAddress", elastic), allow("AssociateAddress", interface)
        assert not allowed("associate_address", move, both[0])
        assert not allowed("associate_address", move, both[1])
        other = allow("AssociateAddress", f"elastic-ip/{a.allocation_id}")
        assert not allowed("associate_address", move, other, both[1])
        keyed = {"StringEquals": {"ec2:AllocationId": egress["b"].allocation_id}}
        assert not allowed("associate_address", move, allow("AssociateAddress", "elastic-ip/*", **keyed), both[1])
        keyed = {"StringEquals": {"ec2:PublicIpAddress": egress["a"].public_ip, "ec2:Domain": "vpc"}}
        assert allowed("associate_address", move, allow("AssociateAddress", "elastic-ip/*", **keyed), both[1])
        assert allowed("associate_address", move, *both)
        tagged = {"StringEquals": {f"aws:ResourceTag/{CLUSTER_TAG}": CLUSTER}}
        assert allowed("associate_address", move, allow("AssociateAddress", "*", **tagged))

        interface_a = f"network-interface/{a.interface_id}"
        end = {"AssociationId": held}
        assert not allowed("disassociate_address", end, allow("DisassociateAddress", f"elastic-ip/{a.allocation_id}"))
        assert not allowed("disassociate_address", end, allow("DisassociateAddress", interface_a))
        granted = [allow("DisassociateAddress", each) for each in (f"elastic-ip/{a.allocation_id}", interface_a)]
        assert allowed("disassociate_address", end, *granted)

        assign = {"NetworkInterfaceId": b.interface_id, "PrivateIpAddresses": ["10.0.1.99"]}
        for call, action in (("assign", "Assign"), ("unassign", "Unassign")):
            name, permission = f"{call}_private_ip_addresses", f"{action}PrivateIpAddresses"
            assert not allowed(name, assign, allow(permission, interface_a))
            assert allowed(name, assign, allow(permission, interface))

        assert not allowed("allocate_address", {"Domain": "vpc"}, allow("AllocateAddress", "network-interface/*"))
        assert allowed("allocate_address", {"Domain": "vpc"}, allow("AllocateAddress", "elastic-ip/*"))
        assert not allowed("release_address", {"AllocationId": free}, allow("ReleaseAddress", elastic))
        assert allowed("release_address", {"AllocationId": free}, allow("ReleaseAddress", f"elastic-ip/{free}"))
