# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which a NAT node stops NATing while it looks alive, done for real, and the outage that a private client sees.

One line of JSON on standard output: milliseconds per fault. A client of zone a opens a TCP connection every 20 ms; its node nat-a is broken
and, once the outage is over, made whole again. Needs root.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.integration.e2e.cluster import Cluster, running_cluster  # noqa: E402

NODE, PEER, CLIENT = "nat-a", "nat-b", "client-a"
INTERVAL_S = 0.02
# Detection and the pace of reading EC2 as by default; only the return is quick, and does not grow with each fault.
SETTINGS: dict[str, Any] = {
    "return": {"after_s": 1, "max_s": 1},
    "fence": {"after_s": 30, "stagger_s": 15},
    "ec2": {"connect_timeout_s": 1, "read_timeout_s": 2, "poll_s": 5},
}
MENDED, HANDED_OVER, HARMLESS = "mended", "handed over", "harmless"
Step = Callable[[Cluster], Any]


@dataclass(frozen=True)
class Fault:
    """``says``: what the node calls it. ``prepare`` is what takes long, ``remove`` what an operator would do."""

    name: str
    ends: str
    says: str
    inject: Step
    remove: Step = lambda cluster: None
    prepare: Step = lambda cluster: None


@dataclass(frozen=True)
class Outcome:
    """The observations of a client and of an operator of one fault."""

    outage_ms: float
    ends: str
    said: str
    fences: int


def on_node(command: str) -> Step:
    """A shell line on the node that is broken."""
    return lambda cluster: cluster.lab.exec(NODE, ["sh", "-ec", command])


def lab_fault(kind: str, **options: Any) -> Step:
    """A fault of the lab on that node."""
    return lambda cluster: cluster.lab.fault(kind, NODE, **options)


def heal(cluster: Cluster) -> None:
    """Links work again."""
    cluster.lab.heal()


def set_check(value: bool) -> Step:
    """Source/destination check of the node's interface."""

    def step(cluster: Cluster) -> None:
        interface = cluster.lab.ids.node(NODE).interface_id
        cluster.lab.client().modify_network_interface_attribute(
            NetworkInterfaceId=interface, SourceDestCheck={"Value": value}
        )

    return step


def take_address(cluster: Cluster) -> None:
    """The node loses its elastic IP."""
    ec2 = cluster.lab.client()
    address = ec2.describe_addresses(AllocationIds=[cluster.lab.ids.node(NODE).allocation_id])["Addresses"][0]
    ec2.disassociate_address(AssociationId=address["AssociationId"])


def give_address(cluster: Cluster) -> None:
    """It gets it back."""
    ids = cluster.lab.ids.node(NODE)
    cluster.lab.client().associate_address(AllocationId=ids.allocation_id, NetworkInterfaceId=ids.interface_id)


def fill(low: float, high: float) -> Step:
    """Established flows into the connection tracking table, from one share of it to another."""

    def step(cluster: Cluster) -> None:
        most = int(cluster.lab.exec(NODE, ["cat", "/proc/sys/net/netfilter/nf_conntrack_max"]).stdout)
        line = "-I -s 100.%d.%d.%d -d 192.0.2.1 -p tcp --sport %d --dport 443 --state ESTABLISHED -u ASSURED -t 600\n"
        path = cluster.folder / "flows"
        with path.open("w", encoding="ascii") as out:
            for number in range(int(most * low), int(most * high)):
                source, port = divmod(number, 50)
                out.write(line % (64 + (source >> 16), source >> 8 & 255, source & 255, 10000 + port))
        # It ends with an error once nothing more goes in.
        cluster.lab.exec(NODE, ["conntrack", "-R", str(path)], check=False, timeout=100)

    return step


# Docker's daemon changes the rules when it starts, and again at each restart: its chains come first in FORWARD, whose policy becomes DROP.
DOCKER = """
for chain in DOCKER DOCKER-USER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2; do iptables -N $chain; done
iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables -P FORWARD DROP
iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
for chain in DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do iptables -A $chain -j RETURN; done
iptables -I FORWARD -i docker0 -o docker0 -j ACCEPT
iptables -I FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables -I FORWARD -o docker0 -j DOCKER
iptables -I FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -I FORWARD -j DOCKER-ISOLATION-STAGE-1
iptables -I FORWARD -j DOCKER-USER
for chain in DOCKER-ISOLATION-STAGE-1 DOCKER-USER; do iptables -D FORWARD -j $chain; iptables -I FORWARD 1 -j $chain; done
"""
NO_DOCKER = """
iptables -P FORWARD ACCEPT
for table in filter nat; do
  iptables-save -t $table | sed -n -e '/docker0\\|DOCKER/{s/^-A/-D/p}' | while read -r rule; do eval "iptables -t $table $rule"; done
  iptables-save -t $table | sed -n -e 's/^:\\(DOCKER[^ ]*\\) .*/\\1/p' | while read -r chain; do iptables -t $table -X $chain; done
done
"""


FAULTS = (
    Fault("ip_forward_off", MENDED, "ip_forward=0", on_node("echo 0 > /proc/sys/net/ipv4/ip_forward")),
    Fault("nat_flushed", MENDED, "no jump from POSTROUTING", on_node("iptables -t nat -F")),
    Fault("rule_deleted", MENDED, "no rule", on_node("iptables -t nat -D NAT-FAILOVER-POSTROUTING 2")),
    Fault(
        "forward_policy_drop",
        HARMLESS,
        "",
        on_node("iptables -P FORWARD DROP"),
        on_node("iptables -P FORWARD ACCEPT"),
    ),
    Fault("docker_restarted", HARMLESS, "", on_node(DOCKER), on_node(NO_DOCKER)),
    Fault(
        "forward_drop_rule",
        HANDED_OVER,
        "a client's packets get no answer",
        on_node("iptables -I FORWARD 1 -j DROP"),
        on_node("iptables -D FORWARD -j DROP"),
    ),
    Fault(
        "customers_drop_rule",
        HANDED_OVER,
        "a client's packets get no answer",
        on_node("iptables -t mangle -I PREROUTING 1 -i ens5 -s 10.0.0.0/16 -j DROP"),
        on_node("iptables -t mangle -D PREROUTING -i ens5 -s 10.0.0.0/16 -j DROP"),
    ),
    Fault(
        "wrong_egress_interface",
        HANDED_OVER,
        "no default route by interface ens5",
        on_node("ip route replace default via 10.99.0.2 dev wrong"),
        on_node("ip route replace default via 10.0.0.1 dev ens5"),
        # The VPC's own addresses have a route of their own, as on any host with two interfaces.
        on_node(
            "ip link add wrong type veth peer name nowhere; ip address add 10.99.0.1/24 dev wrong; "
            "ip link set wrong up; ip link set nowhere up; ip route add 10.0.0.0/16 via 10.0.0.1 dev ens5"
        ),
    ),
    Fault("uplink_dead", HANDED_OVER, "no answer", lab_fault("uplink"), heal),
    Fault("security_group_closed", HANDED_OVER, "no answer", lab_fault("cut", peer="internet"), heal),
    Fault("source_dest_check_on", HANDED_OVER, "source/dest check is on", set_check(True), set_check(False)),
    Fault("address_gone", HANDED_OVER, "no answer", take_address, give_address),
    Fault(
        "conntrack_full",
        HANDED_OVER,
        "conntrack table",
        fill(0.97, 1.01),
        on_node("conntrack -F"),
        fill(0.0, 0.97),
    ),
)


def suffer(cluster: Cluster, fault: Fault) -> Outcome:
    """Inject a fault, wait for its end as the client sees it, remove it, and wait until all is at home again."""
    fault.prepare(cluster)
    fences = len(cluster.writes("StopInstances", "RebootInstances"))
    known = len(events(cluster))
    with cluster.lab.stream(CLIENT, kind="tcp", interval_s=INTERVAL_S) as stream:
        stream.wait_for_answer()
        time.sleep(1.5)  # so that there has been traffic for a while
        began = time.monotonic()
        fault.inject(cluster)
        if fault.ends == HANDED_OVER:
            cluster.wait(f"{fault.name}: {PEER} takes over", lambda: cluster.lab.owner("a") == PEER, 12)
        elif fault.ends == MENDED:
            cluster.wait(f"{fault.name} is mended", lambda: "mended" in kinds(cluster, known), 12)
        else:
            time.sleep(3)
        stream.wait_for_answer()
        time.sleep(0.3)
        outage = stream.result().outage_ms(began)
        owner = cluster.lab.owner("a")
    said = [text for kind, text in events(cluster)[known:] if kind in ("mended", "forwarding", "fight")]
    ends = HANDED_OVER if owner == PEER else MENDED if "mended" in kinds(cluster, known) else HARMLESS
    fault.remove(cluster)
    cluster.settle()
    fences = len(cluster.writes("StopInstances", "RebootInstances")) - fences
    return Outcome(round(outage, 1), ends, said[0] if said else "", fences)


def events(cluster: Cluster) -> list[tuple[str, str]]:
    """(kind, text) of what the node's service has told so far."""
    return [(event["kind"], event["text"]) for event in cluster.status(NODE)["events"]]


def kinds(cluster: Cluster, known: int) -> list[str]:
    return [kind for kind, _text in events(cluster)[known:]]


def main() -> int:
    """Measure all of them; one line of JSON."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        with running_cluster(Path(folder), settings=SETTINGS, helpers=True) as cluster:
            for fault in FAULTS:
                outcome = suffer(cluster, fault)
                print(f"{fault.name}: {outcome}", file=sys.stderr)
                figures[fault.name] = {"outage_ms": outcome.outage_ms, "ends": outcome.ends, "fences": outcome.fences}
    print(json.dumps({"benchmark": "faults", "interval_ms": INTERVAL_S * 1000, "faults": figures}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
