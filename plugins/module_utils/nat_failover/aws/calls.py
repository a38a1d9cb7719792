# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every call to AWS that this product makes.

A call is defined here once, with what its dry run proves.

``botocore_subset`` loads the descriptions of these calls and of no other. So a call that is missing
here cannot be made: its name does not exist. The IAM permission has the name of the call (Service
Authorization Reference).
"""

from __future__ import annotations

import re
import typing as t

EC2, DYNAMODB = "ec2", "dynamodb"


class Call(t.NamedTuple):
    """One operation of an AWS API."""

    service: str
    operation: str
    # Error codes of a dry run that was allowed. IncorrectInstanceState: a peer that is stopped just
    # now.
    proof: tuple[str, ...] = ("DryRunOperation", "IncorrectInstanceState")

    @property
    def permission(self) -> str:
        """The IAM action, such as ``ec2:ReplaceRoute``."""
        return f"{self.service}:{self.operation}"

    @property
    def method(self) -> str:
        """The method of a boto3 client, such as ``replace_route``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.operation).lower()

    @property
    def reads(self) -> bool:
        """It changes nothing. IAM knows no narrower resource than ``*`` for reads of EC2."""
        return self.operation.startswith("Describe")


DESCRIBE_INSTANCES = Call(EC2, "DescribeInstances")
DESCRIBE_ROUTE_TABLES = Call(EC2, "DescribeRouteTables")
# ReplaceRoute answers InvalidParameterValue where there is no route yet, CreateRoute
# RouteAlreadyExists where there is one.
REPLACE_ROUTE = Call(EC2, "ReplaceRoute", ("DryRunOperation", "InvalidParameterValue", "InvalidRoute.NotFound"))
CREATE_ROUTE = Call(EC2, "CreateRoute", ("DryRunOperation", "RouteAlreadyExists"))
CREATE_TAGS = Call(EC2, "CreateTags")
DELETE_TAGS = Call(EC2, "DeleteTags")
STOP_INSTANCES = Call(EC2, "StopInstances")
START_INSTANCES = Call(EC2, "StartInstances")
REBOOT_INSTANCES = Call(EC2, "RebootInstances")
MODIFY_NETWORK_INTERFACE_ATTRIBUTE = Call(EC2, "ModifyNetworkInterfaceAttribute")

DESCRIBE_ADDRESSES = Call(EC2, "DescribeAddresses")
# InvalidParameterValue: the private address is not assigned yet, which check-config says by itself.
ASSOCIATE_ADDRESS = Call(EC2, "AssociateAddress", ("DryRunOperation", "InvalidParameterValue"))

QUERY = Call(DYNAMODB, "Query")
PUT_ITEM = Call(DYNAMODB, "PutItem")
DELETE_ITEM = Call(DYNAMODB, "DeleteItem")

CALLS: tuple[Call, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Call))


def operations(service: str) -> frozenset[str]:
    """The operations of a service that this product uses."""
    return frozenset(call.operation for call in CALLS if call.service == service)
