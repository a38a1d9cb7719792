# SPDX-License-Identifier: GPL-3.0-or-later
"""Access to moto's in-memory models. The only place that knows where moto keeps them."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# moto reads some 900 machine images at the first EC2 call (over a second) unless told not to, and has to be told by environment.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

from moto.core.base_backend import BackendDict
from moto.dynamodb.models import dynamodb_backends
from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends
from moto.moto_api._internal import mock_random
from moto.sts.models import sts_backends

from . import corrections

importlib.import_module("moto.core.common_models")  # for its side effect: models register themselves

ACCOUNT = "123456789012"
REGION = "eu-west-1"
PARTITION = "aws"


@dataclass(frozen=True)
class Credentials:
    """The answers of the metadata service to an instance."""

    access_key: str
    secret_key: str
    token: str
    expiration: datetime
    role: str


def ec2(account: str = ACCOUNT, region: str = REGION) -> Any:
    """moto's EC2 model of one account and region, with the lab's corrections."""
    corrections.install()
    return ec2_backends[account][region]


def elbv2(account: str = ACCOUNT, region: str = REGION) -> Any:
    """moto's model of load balancers of one account and region, with the lab's corrections."""
    corrections.install()
    return elbv2_backends[account][region]


def dynamodb(account: str = ACCOUNT, region: str = REGION) -> Any:
    """moto's DynamoDB model of one account and region."""
    return dynamodb_backends[account][region]


def iam(account: str = ACCOUNT) -> Any:
    """moto's IAM model of one account."""
    return iam_backends[account][PARTITION]


def sts(account: str = ACCOUNT) -> Any:
    """moto's STS model of one account."""
    return sts_backends[account][PARTITION]


def accounts() -> list[str]:
    """The accounts that anything was asked of so far."""
    return list(sts_backends)


def reset(seed: int = 42) -> None:
    """Forget everything in every account and make the ids to come deterministic. moto keeps one world per process."""
    BackendDict.reset()
    mock_random.seed(seed)


def instances(model: Any) -> list[Any]:
    """All instances, also terminated ones."""
    return [instance for reservation in model.reservations.values() for instance in reservation.instances]


def tags(model: Any, resource_id: str) -> dict[str, str]:
    """The tags of a resource. Never creates the (empty) entry that indexing moto's default dictionary would."""
    return dict(model.tags.get(resource_id, {}))


def find_instance(model: Any, reference: str) -> Any:
    """An instance by id or by its Name tag; ``KeyError`` if there is none."""
    for instance in instances(model):
        if reference in (instance.id, tags(model, instance.id).get("Name")) and instance.state != "terminated":
            return instance
    for instance in instances(model):
        if instance.id == reference:
            return instance
    raise KeyError(f"no instance {reference!r}")


def role_of(model: Any, instance_id: str) -> Any:
    """The IAM role of an instance's profile, or None."""
    for association in model.iam_instance_profile_associations.values():
        if association.instance.id == instance_id and association.iam_instance_profile.roles:
            return association.iam_instance_profile.roles[0]
    return None


def mint(account: str, region: str, instance_id: str, lifetime_s: float) -> Credentials:
    """Temporary credentials of the instance's role, by the same AssumeRole that a client would call."""
    role = role_of(ec2(account, region), instance_id)
    if role is None:
        raise KeyError(f"instance {instance_id} has no instance profile with a role")
    assumed = sts(account).assume_role(
        region_name=region,
        role_session_name=instance_id,
        role_arn=role.arn,
        policy="",
        duration=lifetime_s,
        external_id="",
    )
    return Credentials(
        assumed.access_key_id, assumed.secret_access_key, assumed.session_token, assumed.expiration, role.name
    )
