#!/usr/bin/python
# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nat_failover
short_description: Converge, drain, resume or pause a NAT node
version_added: 1.0.0
description:
  - Runs on a NAT node that the role P(aws_ha.egress.nat_instance#role) has set up.
  - The module asks the service C(nat-failover) if it runs, since the service has the history. Without the service, the same code observes, decides and
    acts once.
  - A route counts as moved only when a new reading of EC2 shows it.
author:
  - The aws_ha.egress contributors (@aws-ha)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - aws_ha.egress.node
attributes:
  check_mode:
    support: full
    details: Observes, decides and writes nothing. Decisions of the peers (the heir of a claim, with more than two nodes) stay open.
  diff_mode:
    support: full
    details: Shows the node's state and the owner of each claim.
  platform:
    platforms: posix
options:
  state:
    description:
      - V(converged) makes sure that each claim has the owner that the evidence asks for. The running service does that all the time, so the module changes
        nothing there. Without the service the module does it once.
      - V(drained) hands all claims of this node over to its peers and keeps it out of service, also over reboots, until it is resumed. It needs the service.
      - V(resumed) makes the node eligible again; its claims come home once it has proven that it forwards. It needs the service.
      - V(paused) keeps all nodes of the cluster from writing anything for the time of O(pause_for); they observe and report. V(unpaused) ends that before its
        time. Both need the service. A pause that stands already stays as it is.
    type: str
    choices: [converged, drained, resumed, paused, unpaused]
    default: converged
  route_tables:
    description:
      - Let this node take these route tables now, independent of their owners. Each must be claimed by a node of the cluster.
      - Only with O(state=converged). A node that has not proven that it forwards takes nothing.
      - A running service gives the claims back to a healthy home, unless it is drained or P(aws_ha.egress.nat_instance#role) ran with
        C(nat_instance_return.policy=manual).
    type: list
    elements: str
  pause_for:
    description: How long V(paused) lasts, for example V(30m) or V(2h), at most V(7d).
    type: str
    default: 1h
  wait_timeout:
    description: Seconds to wait until the peers have taken over, or without the service until all evidence is read and all actions are done.
    type: float
    default: 60
seealso:
  - module: aws_ha.egress.nat_failover_info
"""

EXAMPLES = r"""
- name: Hand over everything before maintenance
  aws_ha.egress.nat_failover:
    state: drained
    wait_timeout: 120

- name: Be eligible again
  aws_ha.egress.nat_failover:
    state: resumed

- name: One observation, one decision, from a scheduled job
  aws_ha.egress.nat_failover:

- name: Move a route table to this node by hand
  aws_ha.egress.nat_failover:
    state: converged
    route_tables:
      - rtb-0aaaaaaaaaaaaaaaa
"""

RETURN = r"""
paused:
  description: The pause of the cluster, with its end; empty without a pause.
  returned: success
  type: str
  sample: ""
state:
  description: The node's state afterwards, in check mode the predicted one.
  returned: success
  type: str
  sample: drained
summary:
  description: One line for an operator.
  returned: success
  type: str
  sample: drained, forwarding, owns 0 of 2 claims; nat-b healthy
claims:
  description: All claims of the cluster.
  returned: success
  type: list
  elements: dict
  sample:
    - route_table: rtb-0aaaaaaaaaaaaaaaa
      destination: 0.0.0.0/0
      home: nat-a
      owner: nat-b
      target: eni-0bbbbbbbbbbbbbbbb
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
actions:
  description: The claims whose owner was changed, or in check mode would be.
  returned: success
  type: list
  elements: dict
  sample:
    - route_table: rtb-0aaaaaaaaaaaaaaaa
      destination: 0.0.0.0/0
      before: nat-a
      after: nat-b
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


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": list(oneshot.STATES), "default": "converged"},
            "config": {"type": "path", "default": "/etc/nat-failover/config.json"},
            "route_tables": {"type": "list", "elements": "str"},
            "wait_timeout": {"type": "float", "default": 60},
            "pause_for": {"type": "str", "default": "1h"},
        },
        supports_check_mode=True,
    )
    given = module.params
    if given["route_tables"] is not None and given["state"] != "converged":
        module.fail_json(
            msg="route_tables goes with state=converged only (got state={}); leave it out".format(given["state"])
        )
    answer(
        module,
        lambda: oneshot.run(
            given["state"],
            given["config"],
            runner=runner(module),
            check_mode=module.check_mode,
            wait_timeout=given["wait_timeout"],
            route_tables=given["route_tables"],
            pause_for=given["pause_for"],
        ),
    )


if __name__ == "__main__":
    main()
