#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: private_addresses
short_description: Private addresses of an EC2 instance
version_added: 1.1.0
description:
  - Assigns further private IPv4 addresses to an instance's primary network interface. Those that it has stay, and one of another interface
    is never taken away from it.
  - Before the first change it names each address outside of the interface's subnet, and an instance type that has no room for all of them.
  - The module is meant for your machine, with your credentials, which need C(ec2:DescribeInstances), C(ec2:DescribeSubnets),
    C(ec2:DescribeInstanceTypes) and C(ec2:AssignPrivateIpAddresses). An instance with the last one could take over the addresses of its
    neighbours.
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
  - boto3 >= 1.26
options:
  instance_id:
    description: Id of the instance.
    type: str
    required: true
  addresses:
    description: The private IPv4 addresses that its primary network interface must have, besides others.
    type: list
    elements: str
    required: true
  region:
    description: Region of the instance.
    type: str
    required: true
  endpoint_url:
    description: URL of the EC2 API, for example of a VPC endpoint; without it the region's own.
    type: str
"""

EXAMPLES = r"""
- name: The egress address of a node, and one that waits for the identity of its peer
  aws_ha.egress.private_addresses:
    instance_id: i-0aaaaaaaaaaaaaaaa
    region: eu-west-1
    addresses: [10.0.0.20, 10.0.0.21]
  delegate_to: localhost
"""

RETURN = r"""
interface_id:
  description: The primary network interface.
  returned: success
  type: str
  sample: eni-0aaaaaaaaaaaaaaaa
addresses:
  description: All of its private IPv4 addresses afterwards, by a new reading of EC2; in check mode the predicted ones.
  returned: success
  type: list
  elements: str
  sample: [10.0.0.10, 10.0.0.20, 10.0.0.21]
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils import _credentials
from ansible_collections.aws_ha.egress.plugins.module_utils._addresses import Addresses, ensure


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance_id": {"type": "str", "required": True},
            "addresses": {"type": "list", "elements": "str", "required": True},
            "region": {"type": "str", "required": True},
            **_credentials.ARGUMENTS,
        },
        supports_check_mode=True,
        **_credentials.RULES,
    )
    given = module.params

    def work() -> dict:
        ec2 = Addresses(given["region"], given["endpoint_url"] or None)
        return ensure(ec2, given["instance_id"], given["addresses"], module.check_mode)

    _credentials.answer(module, work)


if __name__ == "__main__":
    main()
