#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: source_dest_check
short_description: Source/destination check of an EC2 instance
version_added: 1.0.0
description:
  - Switches the source/destination check of an instance's primary network interface. It must be off on a NAT instance, or EC2 drops the
    packets that the instance forwards.
  - The module is meant for the instance itself, with the instance's own role, which needs C(ec2:DescribeInstances) and
    C(ec2:ModifyNetworkInterfaceAttribute).
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
requirements:
  - Python >= 3.9
  - boto3 >= 1.26
options:
  instance_id:
    description: Id of the instance.
    type: str
    required: true
  region:
    description: Region of the instance.
    type: str
    required: true
  enabled:
    description: Whether the check is to be on.
    type: bool
    default: false
  endpoint_url:
    description: URL of the EC2 API, for example of a VPC endpoint; without it the region's own.
    type: str
  profile:
    description: Profile of the credentials, when the module runs on your machine.
    type: str
    version_added: 1.1.0
  access_key:
    description: Access key id. Give O(secret_key) with it.
    type: str
    version_added: 1.1.0
  secret_key:
    description: Secret access key.
    type: str
    version_added: 1.1.0
  session_token:
    description: Session token of temporary credentials.
    type: str
    version_added: 1.1.0
  aws_ca_bundle:
    description: File of the certificates that sign the API's certificate.
    type: path
    version_added: 1.1.0
notes:
  - Without credentials the module finds them as boto3 does, on an instance from its role.
  - The options are named as in P(amazon.aws.ec2_instance#module); C(module_defaults) of C(group/aws_ha.egress.aws) reach this module and all of
    the collection C(amazon.aws).
"""

EXAMPLES = r"""
- name: Let this instance forward packets of others
  aws_ha.egress.source_dest_check:
    instance_id: i-0aaaaaaaaaaaaaaaa
    region: eu-west-1
    enabled: false
"""

RETURN = r"""
enabled:
  description: Whether the check is on afterwards, by a new reading of EC2; in check mode the predicted state.
  returned: success
  type: bool
  sample: false
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils import _credentials
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.aws.ec2 import Ec2
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.errors import NatFailoverError

# Nothing waits for this call but the operator: give EC2 more time than the service does.
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0


def switch(ec2: Ec2, instance_id: str, enabled: bool, check_mode: bool) -> dict:
    """Compare, write where needed, read again (law L9)."""
    before = ec2.source_dest_check(instance_id)
    after = enabled
    if before != enabled and not check_mode:
        ec2.set_source_dest_check(instance_id, enabled)
        after = ec2.source_dest_check(instance_id)
        if after != enabled:
            raise NatFailoverError(
                f"source/dest check of {instance_id}: EC2 still says {after} after the write; run this again"
            )
    return {
        "changed": before != enabled,
        "enabled": after,
        "diff": {"before": {"source_dest_check": before}, "after": {"source_dest_check": after}},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "region": {"type": "str", "required": True},
            "enabled": {"type": "bool", "default": False},
            **_credentials.ARGUMENTS,
        },
        supports_check_mode=True,
        **_credentials.RULES,
    )
    given = module.params

    def work() -> dict:
        ec2 = Ec2(
            given["region"],
            given["endpoint_url"] or None,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
        )
        return switch(ec2, given["instance_id"], given["enabled"], module.check_mode)

    _credentials.answer(module, work)


if __name__ == "__main__":
    main()
