# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults of an operator's nights, each played on a cluster of the lab, and the words by which a screen names its cause."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.integration.e2e.cluster import Cluster

Step = Callable[[Cluster, str], Any]
OTHER_KEY = "another-key-of-the-lab-0123456789abcdef"
METADATA = "169.254.169.254"
EC2 = "198.51.100.53"


@dataclass(frozen=True)
class Night:
    """A fault on one node. ``names``: patterns that one screen must match, with the fields ``node``, ``peer`` and ``table``.

    ``watch_s``: how long it is watched before the screens are read. ``over``: what must have come true before that, of a fault that ends by
    itself.
    """

    name: str
    names: tuple[str, ...]
    inject: Step
    watch_s: float = 8.0
    over: Callable[[Cluster, str], bool] | None = None
    dies: bool = False


def peer_of(node: str) -> str:
    """The other one of two nodes."""
    return {"nat-a": "nat-b", "nat-b": "nat-a"}[node]


def zone_of(node: str) -> str:
    """The zone that a node is the home of."""
    return node[-1]


def shell(line: str) -> Step:
    """A line of shell on the node."""
    return lambda cluster, node: cluster.lab.exec(node, ["sh", "-ec", line])


def fault(kind: str, **options: Any) -> Step:
    """A fault of the lab on the node."""
    return lambda cluster, node: cluster.lab.fault(kind, node, **options)


def api(caller: bool, **options: Any) -> Step:
    """The EC2 API misbehaves: for the node only (``caller``), or for all."""
    return lambda cluster, node: cluster.lab.fault("api", caller=node if caller else "*", **options)


def cut(cluster: Cluster, node: str) -> None:
    cluster.lab.fault("cut", node, peer=peer_of(node))


def stop_service(cluster: Cluster, node: str) -> None:
    cluster.service(node).send_signal(signal.SIGTERM)
    cluster.service(node).wait(15)


def stop_canary(cluster: Cluster, node: str) -> None:
    canary = cluster.helpers(node)[0]
    canary.terminate()
    canary.wait(15)


def switch_check_on(cluster: Cluster, node: str) -> None:
    interface = cluster.lab.ids.node(node).interface_id
    cluster.lab.client().modify_network_interface_attribute(
        NetworkInterfaceId=interface, SourceDestCheck={"Value": True}
    )


def change_key(cluster: Cluster, node: str) -> None:
    stop_service(cluster, node)
    start = cluster.start

    def write(name: str, **changes: Any) -> Any:
        path = Cluster.write_config(cluster, name, **changes)
        (cluster.folder / name / "key").write_text(OTHER_KEY + "\n", encoding="ascii")
        return path

    cluster.write_config = write  # type: ignore[method-assign]
    try:
        start(cluster.lab.host(node))
    finally:
        del cluster.write_config


def pause_and_die(cluster: Cluster, node: str) -> None:
    assert cluster.run(node, "pause", "--for", "8h").returncode == 0
    cluster.wait("the peer knows", lambda: bool(cluster.status(peer_of(node))["paused"]))
    cluster.lab.fault("kill", node)


def deny_and_die(cluster: Cluster, node: str) -> None:
    cluster.lab.fault("api", action="ReplaceRoute", error="UnauthorizedOperation", caller=peer_of(node))
    cluster.lab.fault("kill", node)


def edit_route(cluster: Cluster, node: str) -> None:
    ec2, table = cluster.lab.client(), cluster.lab.ids.zones[zone_of(node)].route_table
    gateway = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    ec2.replace_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)


def remove_route(cluster: Cluster, node: str) -> None:
    table = cluster.lab.ids.zones[zone_of(node)].route_table
    cluster.lab.client().delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")


def pause_and_remove_route(cluster: Cluster, node: str) -> None:
    assert cluster.run(node, "pause", "--for", "8h").returncode == 0
    cluster.wait("the peer knows", lambda: bool(cluster.status(peer_of(node))["paused"]))
    remove_route(cluster, node)


def take_address(cluster: Cluster, node: str) -> None:
    ec2, interface = cluster.lab.client(), cluster.lab.ids.node(node).interface_id
    found = ec2.describe_addresses(Filters=[{"Name": "network-interface-id", "Values": [interface]}])["Addresses"]
    ec2.disassociate_address(AssociationId=found[0]["AssociationId"])


def drain_and_lose_the_peer(cluster: Cluster, node: str) -> None:
    assert cluster.run(node, "drain", "--reason", "kernel update").returncode == 0
    cluster.wait("its route has moved", lambda: cluster.lab.owner(zone_of(node)) == peer_of(node))
    cluster.lab.fault("kill", peer_of(node))


def lose_ec2_and_the_peer(cluster: Cluster, node: str) -> None:
    cluster.lab.exec(node, ["iptables", "-I", "OUTPUT", "-d", EC2, "-j", "DROP"])
    cluster.wait("EC2 does not answer", lambda: not cluster.status(node)["self"]["ec2"])
    cluster.lab.fault("kill", peer_of(node))


def stop_instance(cluster: Cluster, node: str) -> None:
    cluster.lab.client().stop_instances(InstanceIds=[cluster.lab.ids.node(node).instance_id])


def hang_canary(cluster: Cluster, node: str) -> None:
    cluster.helpers(node)[0].send_signal(signal.SIGSTOP)


def was_put_back(cluster: Cluster, node: str) -> bool:
    return cluster.lab.owner(zone_of(node)) == node and cluster.status(node)["last_incident"] is not None


def has_mended(cluster: Cluster, node: str) -> bool:
    return bool(cluster.events(node, "mended")) and not cluster.status(node)["problems"]


def came_home(cluster: Cluster, node: str) -> bool:
    """The node was fenced, and has its route again."""
    reborn = cluster.lab.host(node).boots > 1 and cluster.lab.owner(zone_of(node)) == node
    return reborn and cluster.status(peer_of(node))["incident"] is None


NIGHTS = (
    Night("link between the nodes cut", ("peer_partitioned: {peer} is partitioned",), cut),
    Night(
        "drained and forgotten",
        ("drained: {node} is drained: kernel update",),
        lambda cluster, node: cluster.run(node, "drain", "--reason", "kernel update"),
    ),
    Night(
        "heartbeats into the node dropped",
        ("peer_deaf: {node} does not hear this node", "do: allow UDP 4710"),
        shell("iptables -I INPUT -p udp --dport 4710 -j DROP"),
    ),
    Night(
        "foreign rule drops clients' packets", ("foreign_rules: .*FORWARD.*DROP",), shell("iptables -I FORWARD -j DROP")
    ),
    Night("service stopped", ("peer_unmanaged: {node} .*announced the end of its service",), stop_service),
    Night("uplink cut", ("internet: the internet does not answer this node",), fault("uplink")),
    Night("EC2 API throttled", ("ec2_throttled: ",), api(False, error="RequestLimitExceeded", status=503)),
    Night("node dies, is fenced and comes back", ("last .*{node} .*failed",), fault("kill"), over=came_home),
    Night("source/dest check switched on", ("source_dest_check: .*check is on",), switch_check_on),
    Night(
        "clock of the node wrong",
        ("ec2_credentials: EC2: .*RequestExpired", "do: check this instance's clock"),
        api(True, error="RequestExpired", status=400),
    ),
    Night("NAT rules flushed", ("(last|incident) .*jump from",), shell("iptables -t nat -F"), over=has_mended),
    Night(
        "metadata service unreachable",
        ("imds: the metadata service does not answer",),
        shell(f"iptables -I OUTPUT -d {METADATA} -j DROP"),
        watch_s=20.0,
    ),
    Night("EC2 API down", ("ec2_(unreachable|error): EC2: ",), api(False, drop="before")),
    Night("another heartbeat key", ("bad signature: another heartbeat key",), change_key, watch_s=12.0),
    Night(
        "ip_forward=0",
        ("(last|incident) .*ip_forward=0",),
        shell("echo 0 >/proc/sys/net/ipv4/ip_forward"),
        over=has_mended,
    ),
    Night("canary stopped", ("canary_gone: the canary is",), stop_canary),
    Night(
        "paused, then a node dies",
        ("dark: {table} .*{node}", "paused: ", "do: nat-failover unpause"),
        pause_and_die,
        dies=True,
    ),
    Night(
        "takeover denied, then a node dies",
        ("dark: {table} .*{node}", "action_refused: .*UnauthorizedOperation", "do: allow ec2:ReplaceRoute"),
        deny_and_die,
        dies=True,
    ),
    Night("route edited by hand", ("drift: {table} .*igw-",), edit_route),
)
# Others of their kinds, invented later and played without a look at the answer first.
OTHERS = (
    Night(
        "heartbeats out of the node dropped",
        ("peer_deaf: {peer} does not hear this node", "do: .*out of this node"),
        shell("iptables -I OUTPUT -p udp --dport 4710 -j DROP"),
    ),
    Night(
        "route removed by hand",
        ("(last|incident) .*{table} .*EC2 shows the route as missing",),
        remove_route,
        over=was_put_back,
    ),
    Night(
        "paused, then a route is removed",
        ("dark: {table} .*no target", "paused: ", "do: .*aws ec2 create-route"),
        pause_and_remove_route,
    ),
    Night(
        "raw table drops clients' packets",
        ("foreign_rules: .*raw PREROUTING.*drop",),
        shell("iptables -t raw -I PREROUTING -s 10.0.0.0/16 -d 198.51.100.0/24 -j DROP"),
    ),
    Night(
        "foreign rule translates clients' packets",
        ("foreign_rules: .*POSTROUTING.*SNAT",),
        shell("iptables -t nat -I POSTROUTING -o ens5 -j SNAT --to-source 10.0.77.77"),
    ),
    Night(
        "public address taken away",
        ("peer_sick: {node} .*EC2 shows no public IPv4 address of it",),
        take_address,
    ),
    Night(
        "drained, then the peer dies",
        ("dark: {table} ", "drained: {node} is drained", "do: nat-failover resume"),
        drain_and_lose_the_peer,
    ),
    Night(
        "EC2 out of reach, then the peer dies",
        ("ec2_unreachable: ", "peer_silent: {peer} is silent"),
        lose_ec2_and_the_peer,
    ),
    Night(
        "instance stopped by hand",
        ("peer_failed: {node} .*EC2 showed it as stopped", "do: .*aws ec2 start-instances"),
        stop_instance,
        dies=True,
    ),
    Night(
        "EC2 reads denied",
        ("ec2_denied: .*DescribeRouteTables", "do: allow ec2:DescribeRouteTables"),
        api(True, action="DescribeRouteTables", error="UnauthorizedOperation", status=403),
    ),
    Night("canary hangs", ("canary_gone: .*it hangs",), hang_canary),
)
ALL = (*NIGHTS, *OTHERS)
BY_NAME = {night.name: night for night in ALL}
