# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writes that a mode may need, and the dry runs that prove that this node's role allows them."""

from __future__ import annotations

import time
import typing as t

from ..errors import Ec2Error, NatFailoverError
from ..model.cluster import TAG_DRAINED, TAG_FENCE, TAG_FLARE, TAG_PAUSE, Claim, Node
from . import calls, codes, ec2_mapping
from .client import DENIED
from .ec2 import THROTTLED, Ec2

TRIES, PAUSE = 6, 0.25  # of a dry run that is throttled; the pause (seconds) doubles


def missing(
    ec2: Ec2, nodes: t.Sequence[Node], claims: t.Sequence[Claim], self_name: str, mode: str, fence: str
) -> list[str]:
    """Dry runs of every write that ``mode`` may need.

    Returns a sentence for each permission that is missing, and for each write that EC2 refuses for
    another lasting reason, such as a tag policy or a stop protection.

    Raises ``Ec2Error`` for any other failure: a permission that could not be checked is not proven.
    """
    me = next((node for node in nodes if node.name == self_name), None)
    if me is None:
        raise NatFailoverError(f"self: {self_name} is not in the list of nodes")
    interface = ec2.interface(me.instance_id)["NetworkInterfaceId"]
    wanted = [
        *needed(nodes, claims, me, mode, fence, interface, ec2.create_routes),
        *(identities(nodes, me, interface) if mode != "observe" else ()),
    ]
    found = [_refusal(ec2, call, resource, parameters) for call, resource, parameters in wanted]
    return [text for text in dict.fromkeys(found) if text]


def _refusal(ec2: Ec2, call: calls.Call, resource: str, parameters: t.Mapping[str, t.Any]) -> str:
    """One dry run. Returns the refusal that lasts and its remedy, or "".

    Many tables mean many of them: a throttled one is repeated, each time after a longer pause.
    """
    for attempt in range(TRIES):
        try:
            ec2.dry_run(call, resource, parameters)
        except Ec2Error as error:
            if error.code in call.proof:
                return ""
            if error.code in DENIED:
                return (
                    f"missing permission {call.permission} on {resource}; allow it in the IAM policy of this "
                    "instance's role"
                )
            if codes.kind(error.code) in (codes.NO_ROOM, codes.IMPOSSIBLE):
                return str(error)
            if error.code not in THROTTLED or attempt == TRIES - 1:
                raise
            time.sleep(PAUSE * 2**attempt)
        else:
            return ""
    return ""


def needed(
    nodes: t.Sequence[Node],
    claims: t.Sequence[Claim],
    me: Node,
    mode: str,
    fence: str,
    interface: str,
    create_routes: bool = True,
) -> t.Iterator[tuple[calls.Call, str, dict[str, t.Any]]]:
    """(call, resource, parameters) of every write that a mode may need. Pure."""
    mine, own = f"instance {me.instance_id}", [me.instance_id]
    for key in (TAG_FLARE, TAG_DRAINED, TAG_PAUSE):  # one by one: a policy may allow some keys only
        yield calls.CREATE_TAGS, mine, {"Resources": own, "Tags": [{"Key": key, "Value": "dry run"}]}
    yield calls.DELETE_TAGS, mine, {"Resources": own, "Tags": [{"Key": TAG_DRAINED}]}  # resume
    if mode == "observe":
        return
    for claim in claims:
        for call in (calls.REPLACE_ROUTE, calls.CREATE_ROUTE) if create_routes else (calls.REPLACE_ROUTE,):
            yield call, f"route-table {claim.route_table}", ec2_mapping.route(claim, interface)
    if mode != "full" or fence == "none":
        return
    for node in nodes:
        if node is me or not node.instance_id:
            continue
        for call in (
            (calls.STOP_INSTANCES, calls.START_INSTANCES) if fence == "stop_start" else (calls.REBOOT_INSTANCES,)
        ):
            yield call, f"instance {node.instance_id}", {"InstanceIds": [node.instance_id]}
        for call in (calls.CREATE_TAGS, calls.DELETE_TAGS):
            yield (
                call,
                f"instance {node.instance_id}",
                {"Resources": [node.instance_id], "Tags": [{"Key": TAG_FENCE, "Value": ""}]},
            )


def identities(
    nodes: t.Sequence[Node], me: Node, interface: str
) -> t.Iterator[tuple[calls.Call, str, dict[str, t.Any]]]:
    """The same for the Elastic IPs that this node may carry. Pure."""
    for node in nodes:
        if node.egress is None:
            continue
        private = node.egress.address if node.name == me.name else me.waiting.get(node.name)
        if private is not None:
            allocation = node.egress.allocation
            yield (
                calls.ASSOCIATE_ADDRESS,
                f"elastic-ip {allocation}",
                ec2_mapping.association(allocation, interface, private),
            )
