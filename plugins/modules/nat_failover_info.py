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
  - The module asks the service C(nat-failover) if it runs. Without the service, the module observes for a moment itself.
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
  description: One line for an operator.
  returned: success
  type: str
  sample: active, forwarding, owns 1 of 2 claims; nat-b healthy
paused:
  description: The pause of the cluster, with its end; empty without a pause.
  returned: success
  type: str
  sample: ""
forwarding:
  description: Whether this node has proven that it forwards and reaches the internet.
  returned: success
  type: bool
  sample: true
fact:
  description: The failing fact; empty while the node forwards.
  returned: success
  type: str
  sample: ""
facts:
  description:
    - The facts that its forwarding rests on, as last checked; empty when the service is of an older version.
    - Facts of IPv6 are present on a node that forwards it.
    - Counters of the packets for which the node had no room, since its boot, are present if the kernel and the driver (ENA) have them.
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
  description: Warnings for the operator although the node forwards, for example about counters above that have moved within the last minute.
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
      description: Name of the node that the claim belongs to in normal operation.
      returned: success
      type: str
    owner:
      description: Name of the node that the route targets now; null for a target that is no node of the cluster.
      returned: success
      type: str
    target:
      description: The target of the route, as EC2 shows it.
      returned: success
      type: str
    state:
      description: The state of the route.
      returned: success
      type: str
instances:
  description: The instance that each node is now, as EC2 shows it; empty while the service is of an older version.
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
  description: The verdicts of this node on its peers, with the evidence.
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
      description: The last state that the peer reported, for example V(active) or V(drained); null before its first report.
      returned: success
      type: str
    evidence:
      description: The evidence for the verdict.
      returned: success
      type: str
withheld:
  description: The actions that this node would take but must not, with the reason.
  returned: success
  type: list
  elements: str
  sample: []
drift:
  description: Routes that target no node of the cluster; the service leaves them alone.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aws_ha.egress.plugins.module_utils._module import answer, runner
from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.service import oneshot

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
        seen = oneshot.info(module.params["config"], runner=runner(module))
        return {"changed": False, **{key: seen[key] for key in KEYS}}

    answer(module, work)


if __name__ == "__main__":
    main()
