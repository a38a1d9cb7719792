# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The documentation that all modules for a configured NAT node share."""

    DOCUMENTATION = r"""
options:
  config:
    description: The configuration file of the node, as the role P(aws_ha.egress.nat_instance#role) writes it.
    type: path
    default: /etc/nat-failover/config.json
requirements:
  - Python >= 3.9
  - boto3 >= 1.26, unless the service C(nat-failover) runs on the node
notes:
  - The module needs root, or membership of the group C(nat-failover) if the service runs.
  - C(module_defaults) of C(group/aws_ha.egress.node) reach all modules that take O(config).
  - The module calls EC2 with the node's own instance role. It takes no credentials.
"""
