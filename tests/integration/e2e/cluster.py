# SPDX-License-Identifier: GPL-3.0-or-later
"""The real service on the lab's bare hosts: what the role and systemd do on machines, done by a boot hook."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import egress, pythons
from lab.fabric import netns
from lab.fabric.names import INTERFACE, INTERNET6
from lab.hosts.host import Host
from lab.testing import RunningLab, running_lab
from lab.vpc import DEFAULT_ROUTE, ZoneIds
from nat_failover.errors import NatFailoverError
from nat_failover.service import history
from nat_failover.service.sender import send_request

ROOT = Path(__file__).resolve().parents[3]
LAUNCHER = ROOT / "roles" / "nat_instance" / "files" / "main.py"
# As the unit sets it; its lines need no variable.
CONDITIONS = ROOT / "roles" / "nat_instance" / "templates" / "conditions.j2"
UNIT_ENVIRONMENT = dict(re.findall(r"^Environment=(\w+)=(.+)$", CONDITIONS.read_text(encoding="utf-8"), re.MULTILINE))
KEY = "only-for-the-lab-0123456789abcdef"
# As short as the configuration allows: these tests are about what happens, not about how long an operator wants it to take.
QUICK: dict[str, Any] = {
    "return": {"after_s": 2, "max_s": 20},
    "fence": {"after_s": 5, "stagger_s": 5},
    "ec2": {"connect_timeout_s": 0.5, "read_timeout_s": 1, "poll_s": 1},
    "handover": {"poll_s": 0.5, "wait_s": 5},
    "unseen_after_s": 4,
}
WITNESS_TABLE: dict[str, Any] = {
    "witness": {"dynamodb_table": "witness", "endpoint_url": "http://198.51.100.53", "lock_lease_s": 10}
}


class Cluster:
    """A running lab with the service on each NAT node."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], helpers: bool = False, witnesses: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.settings = {**QUICK, **settings}
        self.lab: RunningLab = None  # type: ignore[assignment]  # set as soon as there is one
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        self._with_helpers = helpers
        self.witnesses = tuple(witnesses)
        self._helpers: dict[str, list[subprocess.Popen[bytes]]] = {}
        self._watches: list[threading.Thread] = []
        self.log = folder / "service.log"

    # --- the nodes ---------------------------------------------------------------------------------------------------------------

    def boot(self, host: Host) -> None:
        """The boot of a machine: sysctl, rules, service."""
        netns.sysctl(host.namespace, {"ipv4/ip_forward": "1"})
        if self.lab is not None:  # the first boot comes before the ids are known
            self.start(host)

    def start(self, host: Host) -> None:
        self.write_config(host.name)
        if host.name not in self.witnesses:
            host.exec(self.command(host.name, "rules", "apply"), env=self.environment())
            if self.lab.ipv6:  # the engine's own, in its order, which are those of the role's file
                host.exec(self.command(host.name, "repair"), env=self.environment(), input="sysctls\n")
        if self._with_helpers and not any(each.poll() is None for each in self._helpers.get(host.name, [])):
            self.start_helpers(host)
        with self.log.open("ab") as log:
            environment = {**self.environment(), **UNIT_ENVIRONMENT}
            process = host.popen(self.command(host.name, "run"), env=environment, stdout=log, stderr=log)
        self._services[host.name] = process

    def helpers(self, node: str) -> list[subprocess.Popen[bytes]]:
        """The processes of canary and root helper."""
        return self._helpers[node]

    def start_helpers(self, host: Host) -> None:
        """The canary and the root helper, which are units of their own on machines."""
        repair = self.folder / host.name / "run-repair.sock"
        repair.unlink(missing_ok=True)
        command = ["systemd-socket-activate", "--accept", "--inetd", "--listen", str(repair)]
        command += [
            "env",
            *(
                f"{key}={value}"
                for key, value in self.environment().items()
                if key.startswith("PYTHON") or key == "PATH"
            ),
        ]
        with self.log.open("ab") as log:
            self._helpers[host.name] = [
                host.popen(words, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                for words in (
                    self.command(host.name, "canary"),
                    [*command, *self.command(host.name, "repair")],
                )
            ]

    def environment(self) -> dict[str, str]:
        return pythons.environment(PYTHONPATH=str(ROOT / "plugins" / "module_utils"))

    def command(self, node: str, *words: str) -> list[str]:
        return [sys.executable, str(LAUNCHER), "--config", str(self.folder / node / "config.json"), *words]

    def write_config(self, node: str, **changes: Any) -> Path:
        """The node's configuration file, as the role would write it."""
        home = self.folder / node
        home.mkdir(exist_ok=True)
        (home / "key").write_text(KEY + "\n", encoding="ascii")
        config = {
            "cluster": "lab",
            "self": node,
            "region": "eu-west-1",
            "nodes": [self._member(zone) for zone in self.lab.ids.zones.values()],
            "interface": INTERFACE,
            "sources": ["10.0.0.0/16"],
            "self_check": {"targets": ["198.51.100.11:443", "198.51.100.12:443"]},
            "key_file": str(home / "key"),
            "runtime_directory": str(home / "run"),
            "state_directory": str(home / "state"),
            **({"canary": {"targets_ipv6": [f"[{INTERNET6}]:443"]}} if self.lab.ipv6 else {}),
            **self.settings,
            **changes,
        }
        config["ec2"] = {"endpoint_url": "http://198.51.100.53", **self.settings["ec2"]}
        path = home / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def make_witness_table(self) -> None:
        """As docs/iam.md says."""
        keys = {"cluster": "HASH", "item": "RANGE"}
        self.lab.client("dynamodb").create_table(
            TableName=self.settings["witness"]["dynamodb_table"],
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )

    def _member(self, zone: ZoneIds) -> dict[str, Any]:
        who: dict[str, Any] = {"name": zone.node, "instance_id": zone.instance_id}
        if zone.node in self.witnesses:
            return {**who, "witness": True}
        return {**who, "route_tables": [zone.route_table], **self._identity(zone)}

    def _identity(self, zone: ZoneIds) -> dict[str, Any]:
        """The identity of a zone's node. Nothing in a lab without egress addresses."""
        if zone.zone not in self.lab.egress:
            return {}
        found = egress.of_node(self.lab.ids, self.lab.egress, zone)
        return {f"egress_{key}": value for key, value in found.items()}

    def run(self, node: str, *words: str) -> subprocess.CompletedProcess[str]:
        """The command ``nat-failover`` on a node."""
        done: subprocess.CompletedProcess[str] = self.lab.exec(
            node, self.command(node, *words), check=False, env=self.environment()
        )
        return done

    def service(self, node: str) -> subprocess.Popen[bytes]:
        return self._services[node]

    def status(self, node: str) -> dict[str, Any]:
        """The status of the node's service, from its socket: a test that waits asks many times. Raises if it does not answer."""
        try:
            found = send_request(str(self.folder / node / "run"), {"do": "status"})
        except NatFailoverError as error:
            raise AssertionError(str(error)) from error
        assert found is not None, f"no service runs on {node}"
        return found

    def verdict(self, node: str, peer: str) -> str:
        return next(row["verdict"] for row in self.status(node)["verdicts"] if row["peer"] == peer)

    def events(self, node: str, kind: str) -> list[str]:
        """The texts of a node's events of one kind since its service started."""
        return [event["text"] for event in self.status(node)["events"] if event["kind"] == kind]

    def recorded(self, node: str) -> list[dict[str, Any]]:
        """The events of all lives of a node, from its disk."""
        return history.read(str(self.folder / node / "state")).events

    def misjudged(self, node: str, peer: str) -> list[str]:
        """The verdicts of a node on a peer that lives, other than healthy, in all lives of the node."""
        verdicts = [each for each in self.recorded(node) if each["kind"] == "verdict" and each["peer"] == peer]
        return [each["text"] for each in verdicts if each["verdict"] not in ("healthy", "unknown")]

    # --- waiting and looking -----------------------------------------------------------------------------------------------------

    def wait(self, what: str, true: Callable[[], bool], seconds: float = 15.0, every: float = 0.05) -> float:
        """Wait until something is true, asked ``every`` so many seconds; returns when (monotonic).

        On a timeout the service's log is in the error.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if true():
                    return time.monotonic()
            except (AssertionError, StopIteration):
                pass  # a service that is just starting does not answer yet
            time.sleep(every)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.log.read_text()[-6000:]}")

    def settle(self) -> None:
        """All nodes see each other healthy, EC2 answers them, and every claim is at home. Nobody claims the table of a witness's zone."""
        nodes = [zone.node for zone in self.lab.ids.zones.values()]
        pairs = [(one, two) for one in nodes for two in nodes if one != two]
        self.wait("all healthy", lambda: all(self.verdict(*pair) == "healthy" for pair in pairs), 20)
        self.wait("all at home", lambda: all(self.owners(zone) == {f"nat-{zone}"} for zone in self.lab.ids.zones), 20)
        fit = [node for node in nodes if node not in self.witnesses]
        self.wait("all fit", lambda: all(self.status(node)["self"]["forwarding"] for node in fit))
        self.wait("EC2 answers all", lambda: all(self.status(node)["self"]["ec2"] for node in nodes))

    def fenced(self, node: str, boots: int) -> None:
        """Wait until a dead node was stopped and started by its peer, and all is at rest again. ``boots``: those before its death."""
        self.wait(f"{node} boots again", lambda: self.lab.host(node).boots > boots, 60)
        self.wait(f"the service of {node} answers", lambda: bool(self.status(node)), 60)
        self.settle()

    def owners(self, zone: str) -> set[str | None]:
        """The owners of the claims of a zone's table."""
        destinations = self.settings.get("destinations", [DEFAULT_ROUTE])
        return {self.lab.owner(zone, destination) for destination in destinations}

    def writes(self, *actions: str) -> list[tuple[str, str]]:
        """(action, caller) of the writes so far, flares left out."""
        wanted = actions or ("ReplaceRoute", "CreateRoute", "StopInstances", "StartInstances", "RebootInstances")
        return [(call.action, call.caller) for call in self.lab.calls() if call.action in wanted]


@contextmanager
def running_cluster(
    folder: Path,
    *,
    settings: dict[str, Any] | None = None,
    helpers: bool = False,
    witnesses: Sequence[str] = (),
    prepare: Callable[[Cluster], None] = lambda cluster: None,
    make: Callable[..., Cluster] = Cluster,
    **options: Any,
) -> Iterator[Cluster]:
    """A settled cluster on bare hosts. ``helpers``: with canary and root helper. ``witnesses``: the nodes that only watch.

    ``prepare``: what is done to lab and settings before a service starts.
    """
    cluster = make(folder, settings or {}, helpers, witnesses)
    with running_lab(on_boot=cluster.boot, source_dest_check=False, **options) as lab:
        cluster.lab = lab
        if "witness" in cluster.settings:
            cluster.make_witness_table()
        prepare(cluster)
        for zone in lab.ids.zones.values():
            cluster.start(lab.host(zone.node))
        cluster.settle()
        yield cluster
