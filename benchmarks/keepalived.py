# SPDX-License-Identifier: GPL-3.0-or-later
"""The contender keepalived: alone, and with conntrackd and an Elastic IP that moves."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from lab import egress
from lab.fabric import netns
from lab.fabric.names import INTERFACE, VPC
from lab.hosts.host import Host
from lab.vpc import ZoneIds
from nat_failover.host import conntrackd_conf

from .scripted import CALL, ENDPOINT, RETURN_S, Scripted

TABLE = 65536  # entries of connection tracking


class Keepalived(Scripted):
    """Unicast VRRP, an instance for each zone, its home with the higher priority; who becomes master replaces the route."""

    def __init__(self, folder: Path, advert_s: float, return_s: float = RETURN_S) -> None:
        super().__init__(folder)
        self.advert_s = advert_s
        self.return_s = return_s
        self.preempt = f"  preempt_delay {return_s:.0f}\n" if return_s > RETURN_S else ""

    def start(self, host: Host) -> None:
        home = self.folder / host.name
        home.mkdir(exist_ok=True)
        (home / "keepalived.conf").write_text(self.configuration(host.name, home), encoding="ascii")
        words = ["keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", str(home / "keepalived.conf")]
        self.spawn(host, [*words, "-p", str(home / "pid"), "-r", str(home / "vrrp.pid")])

    def configuration(self, node: str, home: Path) -> str:
        """Also writes the notify scripts that it names."""
        own, other = self.zones(node)
        text = "global_defs {\n  script_user root\n  enable_script_security\n  vrrp_version 3\n}\n"
        for number, zone in enumerate(self.lab.ids.zones.values()):
            script = home / f"master-{zone.zone}"
            word = "ready" if zone is own else "failed"
            stamp = f'echo "{word} $(date +%s.%N)" >> {self.folder}/{node}.log'
            script.write_text("\n".join(["#!/bin/sh", stamp, *self.takeover(own, zone, home), ""]))
            script.chmod(0o755)
            text += (
                f"vrrp_instance {zone.zone} {{\n  state BACKUP\n  interface {INTERFACE}\n  virtual_router_id {51 + number}\n"
                f"  priority {150 if zone is own else 100}\n  advert_int {self.advert_s}\n{self.preempt}"
                f"  unicast_src_ip {own.private_ip}\n  unicast_peer {{\n    {other.private_ip}\n  }}\n"
                # It insists on an address to move; this one is of no use to anybody.
                f"  virtual_ipaddress {{\n    192.0.2.{1 + number}/32 dev lo\n  }}\n"
                f'  notify_master "{script}"\n}}\n'
            )
        return text

    def takeover(self, own: ZoneIds, zone: ZoneIds, home: Path) -> list[str]:
        """The commands by which the node of ``own`` takes over a zone."""
        return [f"exec {' '.join(CALL)} {ENDPOINT} replace_route '{json.dumps(_route(zone, own))}'"]

    def said(self, node: str) -> list[tuple[str, float]]:
        """A shell has no monotonic clock; within a measurement the two clocks differ by a constant."""
        offset = time.time() - time.monotonic()
        return [(word, at - offset) for word, at in super().said(node)]

    def settle(self) -> None:
        for node in ("nat-a", "nat-b"):
            self.wait(node, "ready", 20.0 + self.return_s)  # the other one may have been first, and is preempted
        time.sleep(
            3.0
        )  # both were master of everything for a moment, and the last call won: put the routes where they belong
        for zone in self.lab.ids.zones.values():
            self.lab.client().replace_route(**_route(zone, zone))


class Synced(Keepalived):
    """The same with conntrackd, and the same move of the same Elastic IP as that of identities.

    conntrackd alone would not do: the heir gets flows that are translated to the private address of the dead node, and an Elastic IP moves
    to a private address of the heir. So both nodes have the two rules by which nftables rewrites the one address to the other.
    """

    def start(self, host: Host) -> None:
        own, other = self.zones(host.name)
        home = self.folder / host.name
        (home / "sync").mkdir(parents=True, exist_ok=True)
        for left in (home / "sync").iterdir():
            left.unlink()
        netns.sysctl(host.namespace, {"netfilter/nf_conntrack_tcp_be_liberal": "1"})
        host.exec(["nft", "-f", "-"], input=self.rules(own))
        networks = [network for zone in self.lab.ids.zones.values() for network in self._identity(zone)["networks"]]
        text = conntrackd_conf.text(
            own.private_ip, other.private_ip, INTERFACE, networks, TABLE, directory=str(home / "sync")
        )
        (home / conntrackd_conf.NAME).write_text(text, encoding="ascii")
        self.spawn(host, self._daemon(home))
        end = time.monotonic() + 10
        while host.exec([*self._daemon(home), "-n"], check=False).returncode:  # the flows that the peer has
            if time.monotonic() > end:
                raise TimeoutError(f"conntrackd of {host.name} does not answer")
            time.sleep(0.05)
        super().start(host)

    def boot(self, host: Host) -> None:
        """Without masquerading: each flow is translated to the address of its zone."""
        netns.sysctl(host.namespace, {"ipv4/ip_forward": "1"})
        if self.lab is not None:
            self.start(host)

    def rules(self, own: ZoneIds) -> str:
        """Translation and rewriting of the node of a zone, for nft. Unsolicited packets to an address of an identity are dropped."""
        chains: dict[str, list[str]] = {"inward": [], "outward": [], "translate": [], "unsolicited": []}
        for zone in self.lab.ids.zones.values():
            identity = self._identity(zone)
            private, [network] = identity["private_address"], identity["networks"]
            outside = f"oifname {INTERFACE} ip saddr {network} ip daddr != {VPC}"
            chains["translate"].append(f"{outside} snat to {private}")
            chains["unsolicited"].append(f"ip daddr {private} drop")
            if zone is not own:
                waiting = self.address(own, zone)
                chains["inward"].append(f"iifname {INTERFACE} ip daddr {waiting} ip daddr set {private}")
                chains["outward"].append(f"oifname {INTERFACE} ip saddr {private} ip saddr set {waiting}")
        hooks = {
            "inward": "type filter hook prerouting priority -310",  # before connection tracking
            "outward": "type filter hook postrouting priority 400",  # after translation
            "translate": "type nat hook postrouting priority 100",
            "unsolicited": "type filter hook forward priority 0",
        }
        body = "\n".join(
            f"chain {name} {{\n{hooks[name]};\n" + "\n".join(each) + "\n}" for name, each in chains.items()
        )
        return f"table ip failover {{\n{body}\n}}\n"

    def address(self, own: ZoneIds, zone: ZoneIds) -> str:
        """The private address at the node of ``own`` that the Elastic IP of a zone is associated with."""
        found = self.lab.egress[zone.zone]
        return found.private_ip if zone is own else found.waiting[own.zone]

    def takeover(self, own: ZoneIds, zone: ZoneIds, home: Path) -> list[str]:
        """Route and address side by side. Then the flows count as those of this node, so that the peer gets them when it is back."""
        told = " ".join(self._daemon(home))
        return [
            f"{' '.join(CALL)} {ENDPOINT} associate_address '{json.dumps(self._association(zone, own))}' &",
            f"{' '.join(CALL)} {ENDPOINT} replace_route '{json.dumps(_route(zone, own))}' &",
            f"wait; {told} -f; {told} -R",
        ]

    def settle(self) -> None:
        super().settle()
        for zone in self.lab.ids.zones.values():
            self.lab.client().associate_address(**self._association(zone, zone))

    def _association(self, zone: ZoneIds, own: ZoneIds) -> dict[str, Any]:
        return {
            "AllocationId": self.lab.egress[zone.zone].allocation_id,
            "NetworkInterfaceId": own.interface_id,
            "PrivateIpAddress": self.address(own, zone),
            "AllowReassociation": True,
        }

    def _identity(self, zone: ZoneIds) -> dict[str, Any]:
        return egress.of_node(self.lab.ids, self.lab.egress, zone)

    @staticmethod
    def _daemon(home: Path) -> list[str]:
        return ["conntrackd", "-C", str(home / conntrackd_conf.NAME)]


def _route(zone: ZoneIds, owner: ZoneIds) -> dict[str, str]:
    """The arguments of ReplaceRoute."""
    return {
        "RouteTableId": zone.route_table,
        "DestinationCidrBlock": "0.0.0.0/0",
        "NetworkInterfaceId": owner.interface_id,
    }
