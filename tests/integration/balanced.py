# SPDX-License-Identifier: GPL-3.0-or-later
"""A network load balancer in a lab, as an operator makes it, and clients that hold a flow through it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from lab.testing import RunningLab

# Sends the node's name and the peer's address, then what it gets.
SERVER = """
import socket, sys, threading
def serve(connection, peer):
    try:
        connection.sendall(f"{sys.argv[1]} {peer[0]}\\n".encode())
        while data := connection.recv(4096):
            connection.sendall(data)
    except OSError:
        pass
server = socket.create_server(("", int(sys.argv[2])), backlog=128)
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=server.accept(), daemon=True).start()
"""
# One line for each line of its input: the answer, or the error's name. The first line comes by itself.
CLIENT = """
import socket, sys
try:
    flow = socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.5)
    lines = flow.makefile("r")
    print(lines.readline().strip(), flush=True)
    for line in sys.stdin:
        flow.sendall(line.encode())
        print(lines.readline().strip() or "closed", flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
"""


def until(true: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Wait until something is true."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


class Flow:
    """One TCP connection from a host, held open. ``first`` is what the server sent: its name and the address of its peer."""

    def __init__(self, lab: RunningLab, host: str, address: str, port: int) -> None:
        self._process = lab.host(host).popen(
            [sys.executable, "-S", "-c", CLIENT, address, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.first = self._process.stdout.readline().strip()

    @property
    def node(self) -> str:
        """The target that took the flow, or the error."""
        return self.first.split()[0]

    def send(self) -> str:
        """Send a line: the answer is ``still``, an error's name or ``closed``."""
        try:
            self._process.stdin.write("still\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        return str(self._process.stdout.readline().strip())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Balanced:
    """A target group, a balancer with an interface in each private subnet, and a listener that joins them."""

    def __init__(self, lab: RunningLab, name: str = "egress", port: int = 3128, **check: Any) -> None:
        self.lab, self.port = lab, port
        self.elb = lab.client("elbv2")
        self.nodes = {zone.node: zone.instance_id for zone in lab.ids.zones.values()}
        wanted = {"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2}
        wanted |= {"HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2}
        made = self.elb.create_target_group(
            Name=name, Protocol="TCP", Port=port, VpcId=lab.ids.vpc, TargetType="instance", **{**wanted, **check}
        )
        self.group: str = made["TargetGroups"][0]["TargetGroupArn"]
        subnets = [zone.private_subnet for zone in lab.ids.zones.values()]
        made = self.elb.create_load_balancer(Name=name, Type="network", Scheme="internal", Subnets=subnets)
        self.arn: str = made["LoadBalancers"][0]["LoadBalancerArn"]
        self.dns_name: str = made["LoadBalancers"][0]["DNSName"]
        self.elb.create_listener(
            LoadBalancerArn=self.arn,
            Protocol="TCP",
            Port=port,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.group}],
        )
        [balancer] = [each for each in lab.api.snapshot().balancers if each.dns_name == self.dns_name]
        self.addresses = {zone[-1]: address for zone, address in balancer.addresses.items()}

    @classmethod
    def of_proxies(cls, lab: RunningLab) -> Balanced:
        """Set up as by the playbook proxy_load_balancer, without targets."""
        made = cls(
            lab,
            HealthCheckProtocol="HTTP",
            HealthCheckPort="3129",
            HealthCheckPath="/healthz",
            Matcher={"HttpCode": "200"},
        )
        made.cross_zone()
        made.set(end_unhealthy="false", drain_unhealthy="300")
        return made

    def remove(self) -> None:
        self.elb.delete_load_balancer(LoadBalancerArn=self.arn)
        self.elb.delete_target_group(TargetGroupArn=self.group)

    def quick(self, interval_s: float = 0.3, timeout_s: float = 0.2) -> None:
        """Checks more often than the 5 s that AWS allows at least, for tests of what follows from them."""
        with self.lab.api.lock:
            group = self.lab.api.balancers.target_groups[self.group]
            group.health_check_interval_seconds, group.health_check_timeout_seconds = interval_s, timeout_s

    def cross_zone(self) -> None:
        pairs = [{"Key": "load_balancing.cross_zone.enabled", "Value": "true"}]
        self.elb.modify_load_balancer_attributes(LoadBalancerArn=self.arn, Attributes=pairs)

    def set(self, **values: str) -> None:
        """Attributes of the group, by the short names of ``NAMES``."""
        pairs = [{"Key": NAMES[key], "Value": value} for key, value in values.items()]
        self.elb.modify_target_group_attributes(TargetGroupArn=self.group, Attributes=pairs)

    def register(self, *nodes: str) -> None:
        targets = [{"Id": self.nodes[node]} for node in nodes or self.nodes]
        self.elb.register_targets(TargetGroupArn=self.group, Targets=targets)

    def deregister(self, *nodes: str) -> None:
        self.elb.deregister_targets(TargetGroupArn=self.group, Targets=[{"Id": self.nodes[node]} for node in nodes])

    def states(self) -> dict[str, str]:
        """DescribeTargetHealth by node."""
        nodes = {instance: node for node, instance in self.nodes.items()}
        found = self.elb.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        return {nodes[each["Target"]["Id"]]: each["TargetHealth"]["State"] for each in found}

    def wait(self, **states: str) -> None:
        """Wait for states: ``wait(nat_a="healthy")``."""
        wanted = {node.replace("_", "-"): state for node, state in states.items()}
        until(lambda: self.states() == wanted)

    def serve(self, node: str) -> Any:
        """Start the server on a node."""
        argv = [sys.executable, "-S", "-c", SERVER, node, str(self.port)]
        server = self.lab.host(node).popen(argv, stdout=subprocess.PIPE, text=True)
        assert server.stdout.readline() == "ready\n"
        return server

    def flow(self, client: str, zone: str) -> Flow:
        """A connection to the balancer's address in a zone."""
        return Flow(self.lab, client, self.addresses[zone], self.port)

    def flows(self, client: str, zone: str) -> list[Flow]:
        """Connections to the balancer's address in a zone, at least 8, and as many as it takes until each target has one."""
        found: list[Flow] = []
        while len(found) < 8 or {flow.node for flow in found} != set(self.nodes):
            assert len(found) < 64, f"all went to {found[0].node}"
            found.append(self.flow(client, zone))
        return found

    def takers(self, client: str, zone: str, number: int = 24) -> set[str]:
        """The targets, or errors, that ``number`` new flows met."""
        found = set()
        for _number in range(number):
            flow = self.flow(client, zone)
            found.add(flow.node)
            flow.close()
        return found


NAMES = {
    "delay": "deregistration_delay.timeout_seconds",
    "end_deregistered": "deregistration_delay.connection_termination.enabled",
    "keep_client": "preserve_client_ip.enabled",
    "end_unhealthy": "target_health_state.unhealthy.connection_termination.enabled",
    "drain_unhealthy": "target_health_state.unhealthy.draining_interval_seconds",
}
