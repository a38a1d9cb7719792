# SPDX-License-Identifier: GPL-3.0-or-later
"""One whole lab in this process: the API, the network, the hosts, and the faults between them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import authority, egress, vpc
from .api import backend
from .api.health_checks import probe
from .api.imds import Imds, imds_app
from .api.target_health import Check
from .errors import LabError, Prerequisite
from .fabric import cleanup, netns
from .fabric.groups import OPEN
from .fabric.names import INTERFACE, OPS, OPS_ADDRESS, VPC, VPC6, Names, Port, address6, client_mac
from .fabric.network import ROUTER, Network
from .fabric.rules import UPLINK_PEER, LinkFault
from .hosts.host import FROZEN, KILLED, OFF, ON, Host
from .running_api import ServedApi
from .settings import FAULTS
from .vpc import DEFAULT_ROUTE, subnets

log = logging.getLogger(__name__)

LINK_OPTIONS = ("peer", "direction", "percent")


class World(ServedApi):
    """A running lab. moto keeps one world per process: run one of these at a time."""

    def __init__(
        self,
        names: Names,
        *,
        zones: Sequence[str] = ("a", "b"),
        make_node: Callable[..., Host] = Host,
        on_boot: Callable[[Host], None] | None = None,
        control: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None,
        transition_s: float = 0.2,
        ipv6: bool = False,
        with_egress: bool = False,
        **options: Any,
    ) -> None:
        self.names = names
        self.ipv6 = ipv6
        self.network: Network | None = None
        self.hosts: dict[str, Host] = {}
        names.run.mkdir(parents=True, exist_ok=True)
        super().__init__(
            names.run,
            zones=zones,
            on_change=self._changed,
            control=control,
            power=self._power,
            transition_s=transition_s,
            ipv6=ipv6,
            probe=self._check_target,
            **{**({"instance_type": egress.TYPE} if with_egress else {}), **options},
        )
        with self.api.lock:
            self.egress = egress.add(self.ids) if with_egress else {}
        try:
            self._build(make_node, on_boot)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything, and remove it from this machine."""
        super().stop()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: host.power_off(hard=True), self.hosts.values()))
        with self.api.lock:
            network, self.network = self.network, None  # a call that was delayed may still come, and finds no network
        if network is not None:
            network.close()
        cleanup.remove(self.names)

    @property
    def ca(self) -> Path:
        """The certificate of the authority that the lab's web server is certified by."""
        return self.names.run / authority.CA

    def host(self, name: str) -> Host:
        """A host by name: nat-a, client-a, ops."""
        if name not in self.hosts:
            raise Prerequisite(f"no host {name!r} in lab {self.names.name}; there are {', '.join(self.hosts)}")
        return self.hosts[name]

    def exec(self, host: str, argv: Sequence[str], **options: Any) -> Any:
        """Run something on a host; see ``Host.exec``."""
        return self.host(host).exec(argv, **options)

    def imds(self, node: str) -> Imds:
        """A node's metadata service."""
        found = self.host(node).imds
        if found is None:
            raise LabError(f"{node} of lab {self.names.name} is no instance")
        return found

    def owner(self, zone: str, destination: str = DEFAULT_ROUTE) -> str | None:
        """The node that the default (or another) route of a zone's private table points at, as the API has it now."""
        return self.owners(zone).get(destination)

    def owners(self, zone: str) -> dict[str, str]:
        """The nodes that the routes of a zone's private table point at, by destination, as the API has them now."""
        nodes = {each.interface_id: each.node for each in self.ids.zones.values()}
        targets = self.targets(self.ids.zones[zone].route_table)
        return {destination: nodes[target] for destination, target in targets.items() if target in nodes}

    def fault(self, kind: str = "api", host: str = "", **options: Any) -> float:
        """Break something (``FAULTS``). Returns by when it was in effect, on the monotonic clock. For ``api`` see ``faults.Rule``."""
        if kind == "api":
            self.arm(**options)
            return time.monotonic()
        if kind not in FAULTS:
            raise Prerequisite(f"no fault {kind!r}; one of {', '.join(FAULTS)}")
        if kind == "notice":
            with self.api.lock:
                self.imds(host).notices.give(**{"what": "spot", **options})
            return time.monotonic()
        known = LINK_OPTIONS if kind in ("cut", "lose", "uplink") else ("mode",) if kind == "group" else ()
        if set(options) - set(known):
            raise Prerequisite(
                f"{kind} takes {', '.join(known) or 'no options'}, not {', '.join(set(options) - set(known))}"
            )
        target = self.host(host)
        if kind in ("kill", "freeze", "thaw"):
            return float(getattr(target, kind)())
        if self.network is None:
            raise LabError("the lab is not up")
        if kind == "group":
            return self.network.set_group(host, str(options.get("mode")))
        if kind == "flush":
            target.exec(["iptables", "-t", "nat", "-F"])
            return time.monotonic()
        if kind == "unforward":
            netns.sysctl(target.namespace, {"ipv4/ip_forward": "0"})
            return time.monotonic()
        if kind == "uplink":
            options = {"peer": UPLINK_PEER, **options}
        elif kind == "lose" and "percent" not in options:
            raise Prerequisite("say how many percent are lost: percent=N")
        return self.network.add_fault(LinkFault(host, **options))

    def heal(self) -> None:
        """Links and API work again, notices are taken back, frozen hosts go on, killed ones are rebooted. Rules stay as they are."""
        self.clear_faults()
        if self.network is not None:
            self.network.clear_faults()
            for name in self.network.security_groups:
                self.network.set_group(name, OPEN)
        for host in self.hosts.values():
            if host.imds is not None:
                host.imds.notices.give("none")
            if host.state == FROZEN:
                host.thaw()
            elif host.state == KILLED:
                host.reboot(hard=True)
                host.wait_ready()

    def terminate(self, node: str) -> None:
        """A node's instance is terminated, by nobody of the cluster. Returns when EC2 says terminated and the host is off."""
        instance = self.ids.node(node).instance_id
        self.client().terminate_instances(InstanceIds=[instance])
        self._wait(lambda: self.instance(instance).state == "terminated" and self.host(node).state == OFF)

    def relaunch(self, node: str, address: str) -> None:
        """Another instance takes the place of a terminated one, with another private address; ``ids`` tell its ids then."""
        if self.network is None or self.ipv6:
            raise Prerequisite("only hosts of an IPv4 lab get another address")
        host = self.host(node)
        with self.api.lock:
            zone = vpc.relaunch(self.ids.node(node), self.ids.security_group, address)
            self.ids.zones[zone.zone] = zone
            mac = self.api.model.enis[zone.interface_id].mac_address
            self.api.changed()  # what targets the old interface leads nowhere before the host moves
            self.network.move(self._port(node, address, mac, zone.public_subnet, zone.interface_id))
            host.port = self.network.ports[node]
            host.imds = imds_app(zone.instance_id, lock=self.api.lock)
            self.api.power.launched(backend.find_instance(self.api.model, zone.instance_id))
            self.api.changed()
        self._wait(lambda: self.instance(zone.instance_id).state == "running" and host.state == ON)

    @staticmethod
    def _wait(true: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise LabError(f"not within {seconds:.0f} s")
            time.sleep(0.02)

    def _build(self, make_node: Callable[..., Host], on_boot: Callable[[Host], None] | None) -> None:
        ports = self._ports()
        self.network = Network(self.names, ports)
        listener = self.network.build()
        self.network.follow(self.api.snapshot())
        self.api.start([listener])
        for port in ports:
            if port.interface_id is None:
                self.hosts[port.host] = Host(port.host, self.network)
                continue
            imds = imds_app(self.ids.node(port.host).instance_id, lock=self.api.lock)
            node = self.hosts[port.host] = make_node(port.host, self.network, imds=imds, on_boot=on_boot)
            node.on_self_off = self._switched_itself_off
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: (host.power_on(), host.wait_ready()), self.hosts.values()))

    def _ports(self) -> list[Port]:
        interfaces = self.api.model.enis
        ports = []
        for zone in self.ids.zones.values():
            mac = interfaces[zone.interface_id].mac_address
            ports.append(self._port(zone.node, zone.private_ip, mac, zone.public_subnet, zone.interface_id))
        for letter, zone in self.ids.zones.items():
            address = f"10.0.{subnets(letter)[1]}.50"
            ports.append(self._port(f"client-{letter}", address, client_mac(address), zone.private_subnet))
        ports.append(self._port(OPS, OPS_ADDRESS, client_mac(OPS_ADDRESS)))
        return ports

    def _port(self, host: str, address: str, mac: str, subnet: str | None = None, interface: str | None = None) -> Port:
        return Port(host, address, mac, subnet, interface, address6(address) if self.ipv6 else None)

    def _check_target(self, address: str, port: int, check: Check) -> bool:
        """One health check of a load balancer, from the VPC's router."""
        return netns.inside(self.names.namespace(ROUTER), lambda: probe(address, port, check))

    def _changed(self, snapshot: Any) -> None:
        if self.network is not None:
            self.network.follow(snapshot)

    def _power(self, instance_id: str, word: str) -> None:
        """EC2 switches a host. Instances that somebody launched besides the reference VPC have none."""
        node = next((zone.node for zone in self.ids.zones.values() if zone.instance_id == instance_id), None)
        if node is None or node not in self.hosts:
            return
        host = self.hosts[node]
        if word == "on":
            host.power_on()
        elif word == "off":
            host.power_off()
        else:
            host.reboot(hard=host.state != ON)

    def _switched_itself_off(self, host: Host) -> None:
        """A shutdown from inside stops the instance."""
        with self.api.lock:
            self.api.power.stop(backend.find_instance(self.api.model, host.name))


def forward(host: Host) -> None:
    """Make a NAT instance of a bare host the plain way: a boot hook for who tests the network, not the product."""
    netns.sysctl(host.namespace, {"ipv4/ip_forward": "1"})
    networks = {"iptables": VPC}
    if host.port.address6:
        # In this order: see docs/forwarding.md.
        netns.sysctl(host.namespace, {f"ipv6/conf/{INTERFACE}/accept_ra": "2", "ipv6/conf/all/forwarding": "1"})
        networks["ip6tables"] = VPC6
    for command, network in networks.items():
        rule = ["-s", network, "!", "-d", network, "-o", INTERFACE, "-j", "MASQUERADE"]
        host.exec([command, "-t", "nat", "-A", "POSTROUTING", *rule])
