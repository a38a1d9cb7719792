#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: elb_attributes
short_description: Attributes of a load balancer, target group or listener
version_added: 1.1.0
description:
  - Sets attributes that the modules of the collection C(community.aws) have no option for, such as the end of connections to an unhealthy
    target. Attributes that are not named stay as they are.
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - aws_ha.egress.credentials
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
requirements:
  - Python >= 3.9
  - boto3 >= 1.26; for attributes of a listener 1.35.73
options:
  arn:
    description: ARN of the load balancer, target group or listener.
    type: str
    required: true
  attributes:
    description: The attributes by their names at AWS, with their values as text.
    type: dict
    required: true
  region:
    description: Region of the load balancer.
    type: str
    required: true
  endpoint_url:
    description: URL of the Elastic Load Balancing API, for example of a VPC endpoint; without it the region's own.
    type: str
"""

EXAMPLES = r"""
- name: Let connections live when their target is unhealthy
  aws_ha.egress.elb_attributes:
    arn: arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/proxy/0123456789abcdef
    region: eu-west-1
    attributes:
      target_health_state.unhealthy.connection_termination.enabled: "false"
"""

RETURN = r"""
attributes:
  description: The named attributes afterwards, by a new reading of AWS; in check mode the predicted ones.
  returned: success
  type: dict
  sample:
    target_health_state.unhealthy.connection_termination.enabled: "false"
"""

import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils import _credentials
from ansible_collections.aws_ha.egress.plugins.module_utils._client import client
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.errors import NatFailoverError

# The kind of resource that an ARN names, and its word in the names of the calls.
KINDS = {"loadbalancer": "load_balancer", "targetgroup": "target_group", "listener": "listener"}


class Elb:
    """Attributes over the Elastic Load Balancing API, version 2015-12-01."""

    def __init__(self, region: str, endpoint_url: str | None) -> None:
        self.client = client("elbv2", "Elastic Load Balancing", region, endpoint_url)

    def read(self, kind: str, arn: str) -> dict:
        """All attributes by name. Raises ``NatFailoverError``."""
        return self._call("describe", kind, arn)

    def write(self, kind: str, arn: str, attributes: dict) -> None:
        """Set some. Raises ``NatFailoverError``."""
        self._call("modify", kind, arn, Attributes=[{"Key": key, "Value": value} for key, value in attributes.items()])

    def _call(self, verb: str, kind: str, arn: str, **more: object) -> dict:
        from botocore.exceptions import BotoCoreError, ClientError

        name = f"{verb}_{kind}_attributes"
        call = getattr(self.client, name, None)
        if call is None:
            raise NatFailoverError(f"this boto3 does not know {name}; install a newer one")
        key = "".join(word.capitalize() for word in kind.split("_")) + "Arn"
        try:
            found = call(**{key: arn}, **more)
        except (BotoCoreError, ClientError) as error:
            raise NatFailoverError(f"{name} of {arn}: {' '.join(str(error).split())}") from error
        return {each["Key"]: each.get("Value", "") for each in found["Attributes"]}


def kind_of(arn: str) -> str:
    """load_balancer, target_group or listener. Raises ``NatFailoverError``."""
    match = re.fullmatch(r"arn:[a-z-]+:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:([a-z]+)/[^ ]+", arn)
    if not match or match.group(1) not in KINDS:
        raise NatFailoverError(f"arn: {arn!r} is no ARN of a load balancer, target group or listener")
    return KINDS[match.group(1)]


def text_of(value: object) -> str:
    """As AWS writes it: booleans in small letters."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def ensure(elb: Elb, arn: str, wanted: dict, check_mode: bool) -> dict:
    """Compare, write where needed, read again."""
    kind = kind_of(arn)
    wanted = {key: text_of(value) for key, value in wanted.items()}

    def named() -> dict:
        found = elb.read(kind, arn)
        return {key: found.get(key, "") for key in wanted}

    before = named()
    changed = before != wanted
    after = wanted
    if changed and not check_mode:
        elb.write(kind, arn, {key: value for key, value in wanted.items() if before[key] != value})
        after = named()
        if after != wanted:
            raise NatFailoverError(f"attributes of {arn}: AWS still says {after} after the write; run this again")
    return {"changed": changed, "attributes": after, "diff": {"before": before, "after": after}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "arn": {"type": "str", "required": True},
            "attributes": {"type": "dict", "required": True},
            "region": {"type": "str", "required": True},
            **_credentials.ARGUMENTS,
        },
        supports_check_mode=True,
        **_credentials.RULES,
    )
    given = module.params

    def work() -> dict:
        elb = Elb(given["region"], given["endpoint_url"] or None)
        return ensure(elb, given["arn"], given["attributes"], module.check_mode)

    _credentials.answer(module, work)


if __name__ == "__main__":
    main()
