#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: instance_type_info
short_description: Room for private addresses of an EC2 instance type
version_added: 1.1.0
description:
  - Reads the most private IPv4 addresses that one network interface of an instance type can have. It needs C(ec2:DescribeInstanceTypes).
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - aws_ha.egress.credentials
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
requirements:
  - Python >= 3.9
  - boto3 >= 1.26
options:
  instance_type:
    description: The instance type.
    type: str
    required: true
  region:
    description: The region.
    type: str
    required: true
  endpoint_url:
    description: URL of the EC2 API, for example of a VPC endpoint; without it the region's own.
    type: str
"""

EXAMPLES = r"""
- name: Read how many addresses an interface of a t4g.small can have
  aws_ha.egress.instance_type_info:
    instance_type: t4g.small
    region: eu-west-1
"""

RETURN = r"""
addresses_per_interface:
  description: The most private IPv4 addresses of one network interface.
  returned: success
  type: int
  sample: 4
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils import _credentials
from ansible_collections.aws_ha.egress.plugins.module_utils._addresses import Addresses


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance_type": {"type": "str", "required": True},
            "region": {"type": "str", "required": True},
            **_credentials.ARGUMENTS,
        },
        supports_check_mode=True,
        **_credentials.RULES,
    )
    given = module.params

    def work() -> dict:
        room = Addresses(given["region"], given["endpoint_url"] or None).room(given["instance_type"])
        return {"changed": False, "addresses_per_interface": room}

    _credentials.answer(module, work)


if __name__ == "__main__":
    main()
