#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nat_failover_info
short_description: Claims, verdicts and state, as a NAT node sees them
version_added: 1.0.0
description:
  - Runs on a NAT node that the role P(aws_ha.egress.nat_instance#role) has set up, and changes nothing.
  - Where the service C(nat-failover) runs, it is asked; where it does not run, this module observes for a moment itself.
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - aws_ha.egress.node
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
seealso:
  - module: aws_ha.egress.nat_failover
"""

EXAMPLES = r"""
- name: Read what this node sees
  aws_ha.egress.nat_failover_info:
  register: nat

- name: Every peer is healthy
  ansible.builtin.assert:
    that: nat.verdicts | rejectattr('verdict', '==', 'healthy') | length == 0
    fail_msg: "{{ nat.summary }}"
"""

RETURN = r"""
state:
  description: The node's state.
  returned: success
  type: str
  sample: active
summary:
  description: One line for a human.
  returned: success
  type: str
  sample: active, forwarding, owns 1 of 2 claims; nat-b healthy
paused:
  description: Who has paused the cluster until when; empty when nobody has.
  returned: success
  type: str
  sample: ""
forwarding:
  description: Whether this node has proven that it forwards and reaches the internet.
  returned: success
  type: bool
  sample: true
fact:
  description: The failing fact when it has not; empty otherwise.
  returned: success
  type: str
  sample: ""
facts:
  description:
    - What its forwarding rests on, as last seen; empty when the service is of an older version.
    - Those of IPv6 are there where the node forwards it.
    - Among them are counters of what the node had no room for, since its boot, where the kernel and the driver (ENA) have them.
  returned: success
  type: dict
  sample:
    ip_forward: "1"
    interface: ens5 up
    default_routes: ens5
    rules: all there
    source_dest_check: "off"
    conntrack: 3.1 % full
    canary: answered
    internet: reachable
    softnet_dropped: 0
    softnet_squeezed: 12
    pps_allowance_exceeded: 0
node_warnings:
  description: What an operator should look at although the node forwards, for example counters above that have moved within the last minute.
  returned: success
  type: list
  elements: str
  sample: []
claims:
  description: All claims of the cluster.
  returned: success
  type: list
  elements: dict
  sample:
    - route_table: rtb-0aaaaaaaaaaaaaaaa
      destination: 0.0.0.0/0
      home: nat-a
      owner: nat-a
      target: eni-0aaaaaaaaaaaaaaaa
      state: active
  contains:
    route_table:
      description: Id of the route table.
      returned: success
      type: str
    destination:
      description: Destination of the route.
      returned: success
      type: str
    home:
      description: Name of the node that the claim belongs to when all is well.
      returned: success
      type: str
    owner:
      description: Name of the node that the route targets now; null for a target that is no node of the cluster.
      returned: success
      type: str
    target:
      description: What the route targets now, as EC2 says.
      returned: success
      type: str
    state:
      description: The state of the route.
      returned: success
      type: str
instances:
  description: The instance that each node is now, as EC2 said; empty while the service is of an older version.
  returned: success
  type: list
  elements: dict
  version_added: 1.1.0
  sample:
    - node: nat-a
      instance_id: i-0aaaaaaaaaaaaaaaa
      state: running
      address: 10.0.0.10
  contains:
    node:
      description: Name of the node.
      returned: success
      type: str
    instance_id:
      description: Id of the instance; empty while EC2 shows none.
      returned: success
      type: str
    state:
      description: The state of the instance.
      returned: success
      type: str
    address:
      description: Its private IPv4 address.
      returned: success
      type: str
verdicts:
  description: What this node concludes about each peer, and from what.
  returned: success
  type: list
  elements: dict
  sample:
    - peer: nat-b
      verdict: healthy
      evidence: heartbeat 38 ms ago
  contains:
    peer:
      description: Name of the peer.
      returned: success
      type: str
    verdict:
      description: The verdict, for example V(healthy), V(sick), V(silent) or V(failed).
      returned: success
      type: str
    state:
      description: What the peer last said of its own state, for example V(active) or V(drained); null when it has said nothing yet.
      returned: success
      type: str
    evidence:
      description: What was seen.
      returned: success
      type: str
withheld:
  description: What would be done, but is not, and why.
  returned: success
  type: list
  elements: str
  sample: []
drift:
  description: Routes that target something unknown; they are left alone.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils._module import answer, runner
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.service import oneshot as once

KEYS = (
    "state",
    "summary",
    "paused",
    "forwarding",
    "fact",
    "facts",
    "node_warnings",
    "instances",
    "claims",
    "verdicts",
    "withheld",
    "drift",
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={"config": {"type": "path", "default": "/etc/nat-failover/config.json"}},
        supports_check_mode=True,
    )

    def work() -> dict:
        seen = once.info(module.params["config"], runner=runner(module))
        return {"changed": False, **{key: seen[key] for key in KEYS}}

    answer(module, work)


if __name__ == "__main__":
    main()
