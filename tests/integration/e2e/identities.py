# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster whose nodes have identities: an Elastic IP each, on a second private address, which waits at the other node as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration import generated_policy
from tests.integration.e2e.cluster import Cluster, running_cluster

# An heir uses an identity for new connections after ten seconds; the dead node is not back before that.
FENCE = {"after_s": 20, "stagger_s": 5}


@contextmanager
def running_identities(folder: Path, *, delay_s: float = 0.0, **options: Any) -> Iterator[Cluster]:
    """A settled cluster with root helpers, under the policy that ``aws_ha.egress.iam_policy`` makes, with IAM enforced.

    ``delay_s``: from AssociateAddress until the internet gateway follows. The options are those of ``running_cluster``.
    """

    def prepare(cluster: Cluster) -> None:
        with cluster.lab.api.lock:
            allow(cluster)
        cluster.lab.control("addresses", {"delay_s": delay_s})

    settings = {"fence": FENCE, **options.pop("settings", {})}
    wanted = {"helpers": True, "with_egress": True, "enforce_iam": True, "settings": settings, **options}
    with running_cluster(folder, prepare=prepare, **wanted) as cluster:
        cluster.wait("each identity is at home", lambda: all(carries(cluster, zone, f"nat-{zone}") for zone in "ab"))
        yield cluster


def allow(cluster: Cluster, *without: str) -> None:
    """The role of each node may do what the generated policy allows, but for some actions. With the API's lock held."""
    document = generated_policy.document(cluster.lab.ids, identities=cluster.lab.egress)
    generated_policy.attach(cluster.lab.ids, generated_policy.without(document, without))


def holder(cluster: Cluster, zone: str) -> tuple[str, str]:
    """The node and the private address that a zone's Elastic IP is associated with, as the API has it now."""
    allocation = cluster.lab.egress[zone].allocation_id
    found = cluster.lab.client().describe_addresses(AllocationIds=[allocation])["Addresses"][0]
    nodes = {each.interface_id: each.node for each in cluster.lab.ids.zones.values()}
    return nodes.get(found.get("NetworkInterfaceId", ""), ""), found.get("PrivateIpAddress", "")


def carries(cluster: Cluster, zone: str, node: str) -> bool:
    """Whether the Elastic IP of a zone is at a node, and the rules of the node translate to it."""
    row = next(row for row in cluster.status(node)["identities"] if row["identity"] == f"nat-{zone}")
    return row["state"] == "carry" and holder(cluster, zone)[0] == node
