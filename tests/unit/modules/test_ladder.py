# SPDX-License-Identifier: GPL-3.0-or-later
"""The same ladder for every module: bad arguments, check, real, again, diff, failure; and what it returns is what its documentation says.

One row of CASES for each thing that a module does. The world behind them answers at once, and counts who writes to it.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import yaml

from nat_failover.model.cluster import InstanceView

from .conftest import ROOT
from .test_nat_failover import CONFIG, TABLE_B, FakeService, status

MODULES = sorted(file.stem for file in (ROOT / "plugins" / "modules").glob("*.py"))
WHO = {"instance_id": "i-0aaaaaaaaaaaaaaaa", "region": "eu-west-1"}
GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/proxy/0123456789abcdef"
BALANCER = {"arn": GROUP, "region": "eu-west-1", "attributes": {"preserve_client_ip.enabled": False}}
PRIVATE = {**WHO, "addresses": ["10.0.0.20", "10.0.0.21"]}
SETTINGS = {"path": "/x", "content": "", "key_path": "/y", "keys": "", "group": "root", "user": "root"}
# The arguments of a module, and the state of the node before it.
CASES = {
    "drained": ("nat_failover", {"state": "drained"}, {}),
    "resumed": ("nat_failover", {"state": "resumed"}, {"state": "drained", "owner": "nat-b"}),
    "paused": ("nat_failover", {"state": "paused", "pause_for": "10m"}, {}),
    "unpaused": ("nat_failover", {"state": "unpaused"}, {"paused": "by nat-b for 9 min"}),
    "takes a table": ("nat_failover", {"route_tables": [TABLE_B]}, {}),
    "installs": ("nat_failover_engine", {"path": "%s/lib"}, {}),
    "switches off": ("source_dest_check", WHO, {}),
    "switches on": ("source_dest_check", {**WHO, "enabled": True}, {"check": False}),
    "sets attributes": ("elb_attributes", BALANCER, {}),
    "assigns addresses": ("private_addresses", PRIVATE, {}),
}
# The refusals of each one, beside the arguments that no module knows.
BAD = {
    "elb_attributes": ({**BALANCER, "arn": "arn:aws:ec2:eu-west-1:123456789012:vpc/x"}, "is no ARN of a load balancer"),
    "instance_type_info": ({"instance_type": "t4g.small"}, "missing required arguments: region"),
    "private_addresses": ({**PRIVATE, "addresses": ["10.0.0.x"]}, "addresses (got '10.0.0.x') must be IPv4"),
    "nat_failover": ({"wait_timeout": "soon"}, "wait_timeout"),
    "nat_failover_engine": ({"path": "/dev/null/lib"}, "cannot be written"),
    "nat_failover_files": ({"files": [{"path": "/dev/null/file", "content": ""}]}, "cannot be written"),
    "nat_failover_host_info": ({"package_query": {"a": "dict"}}, "package_query"),
    "nat_failover_info": ({"config": "/nowhere/config.json"}, "/nowhere/config.json"),
    "nat_failover_service": ({"config": "/nowhere/config.json"}, "/nowhere/config.json"),
    "nat_failover_settings": (
        {"path": "/nowhere/config.json"},
        "missing required arguments: content, group, key_path, keys",
    ),
    "source_dest_check": ({"instance_id": "i-0aaaaaaaaaaaaaaaa"}, "missing required arguments: region"),
}
FAILURES = {
    "drained": "the last node that carries traffic",
    "resumed": "the last node that carries traffic",
    "paused": "the last node that carries traffic",
    "unpaused": "the last node that carries traffic",
    "takes a table": "allow ec2:ReplaceRoute",
    "installs": "cannot be written",
    "switches off": "allow ec2:ModifyNetworkInterfaceAttribute",
    "switches on": "allow ec2:ModifyNetworkInterfaceAttribute",
    "sets attributes": "allow elasticloadbalancing:ModifyTargetGroupAttributes",
    "assigns addresses": "allow ec2:AssignPrivateIpAddresses",
}


class World(FakeService):
    """The service and EC2 behind the modules, as one; ``error`` is what every write is answered with."""

    def __init__(self, errors):
        super().__init__()
        self.errors, self.error, self.writes, self.check = errors, "", 0, True

    def begin(self, check=True, paused="", **before):
        self.now = dict(status(**before), paused=paused)
        self.check = check
        self.preserved = "true"
        self.held = ("10.0.0.10", "10.0.0.20")

    def write(self):
        if self.error:
            raise self.errors.NatFailoverError(self.error)
        self.writes += 1

    def ask(self, directory, request, timeout=0):
        if request["do"] == "status":
            return self.now
        self.write()
        if request["do"] in ("pause", "unpause"):
            self.now = dict(self.now, paused="the cluster is paused" if request["do"] == "pause" else "")
        if request["do"] == "resume":  # its claims come home later
            self.now = dict(self.now, state="active")
            return self.now
        return super().ask(directory, request, timeout)

    # EC2, as nat_failover and source_dest_check know it
    def __call__(self, *_where, **_timeouts):
        return self

    def find_instances(self, nodes, cluster):
        tags = {"nat-failover:cluster": cluster, "nat-failover:node": "nat-a"}
        return {"i-a": InstanceView("running", "eni-nat-a", "10.0.0.10", tags, 1.0, instance_id="i-a")}

    def write_route(self, claim, interface):
        self.write()
        self.now = dict(self.now, claims=[self._moved(row, claim, interface) for row in self.now["claims"]])

    def describe_routes(self, claims):
        targets = {row["route_table"]: row["target"] for row in self.now["claims"]}
        return {claim: SimpleNamespace(state="active", target=targets[claim.route_table]) for claim in claims}

    @staticmethod
    def _moved(row, claim, interface):
        there = row["route_table"] == claim.route_table
        return dict(row, owner="nat-a", target=interface) if there else row

    # Elastic Load Balancing, as elb_attributes knows it
    def read(self, kind, arn):
        assert (kind, arn) == ("target_group", GROUP)
        return {"preserve_client_ip.enabled": self.preserved, "other": "stays"}

    def write_attributes(self, kind, arn, attributes):
        self.write()
        self.preserved = attributes["preserve_client_ip.enabled"]

    # EC2, as private_addresses knows it
    def interface(self, instance_id):
        return SimpleNamespace(id="eni-a", subnet="subnet-a", instance_type="t4g.small", addresses=self.held)

    def network(self, subnet):
        return "10.0.0.0/24"

    def room(self, instance_type):
        return 4

    def assign(self, interface, addresses):
        self.write()
        self.held += tuple(addresses)

    def source_dest_check(self, instance_id):
        return self.check

    def set_source_dest_check(self, instance_id, enabled):
        self.write()
        self.check = enabled


@pytest.fixture
def world(load, monkeypatch):
    made = World(load("module_utils.nat_failover.errors"))
    monkeypatch.setattr(load("module_utils.nat_failover.service.oneshot"), "send_request", made.ask)
    monkeypatch.setattr(load("module_utils.nat_failover.service.alone"), "connect_ec2", made)
    monkeypatch.setattr(load("modules.source_dest_check"), "Ec2", made)
    for name in ("private_addresses", "instance_type_info"):
        monkeypatch.setattr(load("modules." + name), "Addresses", made)
    elb = SimpleNamespace(read=made.read, write=made.write_attributes)
    monkeypatch.setattr(load("modules.elb_attributes"), "Elb", lambda *_where: elb)
    return made


@pytest.fixture
def ask(run, world, tmp_path):
    """Run a case: ``ask("drained", check=True)``; the world before it is made by ``world.begin``."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**CONFIG, "key_file": str(tmp_path / "key"), "runtime_directory": str(tmp_path)}))

    def call(case, check=False):
        name, arguments, _before = CASES[case]
        own = {"config": str(config)} if name.startswith("nat_failover") and "engine" not in name else {}
        given = {key: value % tmp_path if key == "path" else value for key, value in arguments.items()}
        return run(name, check=check, **own, **given)

    return call


@pytest.mark.parametrize("name", MODULES)
def test_bad_arguments(run, name):
    needed = {
        "source_dest_check": WHO,
        "elb_attributes": BALANCER,
        "instance_type_info": {"instance_type": "t4g.small", "region": "eu-west-1"},
        "private_addresses": PRIVATE,
        "nat_failover_files": {"files": []},
        "nat_failover_settings": SETTINGS,
    }
    unknown = run(name, **needed.get(name, {}), no_such_option=1)
    assert unknown["failed"] and "no_such_option" in unknown["msg"] and "Supported parameters" in unknown["msg"]
    arguments, said = BAD[name]
    refused = run(name, **arguments)
    assert refused["failed"] and said in refused["msg"]


@pytest.mark.parametrize("case", CASES)
def test_check_predicts_real_does_and_again_changes_nothing(ask, world, tmp_path, case):
    world.begin(**CASES[case][2])
    predicted = ask(case, check=True)
    assert predicted["changed"] and world.writes == 0 and not (tmp_path / "lib").exists()
    assert predicted["diff"]["before"] != predicted["diff"]["after"]
    real = ask(case)
    assert real["changed"] and (world.writes == 1 or (tmp_path / "lib").exists())
    assert set(predicted) == set(real), "the same keys"
    assert real["diff"] == predicted["diff"], "it has done what it predicted"
    for check in (True, False):
        again = ask(case, check=check)
        assert not again["changed"]
        assert again["diff"] == {"before": real["diff"]["after"], "after": real["diff"]["after"]}
    assert world.writes <= 1


@pytest.mark.parametrize("case", CASES)
def test_failure_is_one_line_and_said_by_nobody_else(ask, world, tmp_path, case):
    world.begin(**CASES[case][2])
    world.error = FAILURES[case]
    (tmp_path / "lib").write_text("a file where a folder should be")
    failed = ask(case)
    assert failed["failed"] and FAILURES[case] in failed["msg"] and "\n" not in failed["msg"]
    assert world.writes == 0


def test_every_module_is_on_the_ladder():
    changes_nothing = {"nat_failover_info", "nat_failover_host_info", "instance_type_info"}
    # A diff for each file, a secret that no diff shows, a service that is waited for: in test files of their own.
    has_its_own = {"nat_failover_files", "nat_failover_settings", "nat_failover_service"}
    climbing = {name for name, _arguments, _before in CASES.values()}
    assert climbing | changes_nothing | has_its_own == set(MODULES) == set(BAD)
    assert set(FAILURES) == set(CASES)


def documented(load, name):
    part = load("modules." + name)
    return yaml.safe_load(part.DOCUMENTATION), yaml.safe_load(part.EXAMPLES), yaml.safe_load(part.RETURN)


COMMON = {"changed", "diff", "invocation"}  # Ansible's own


@pytest.mark.parametrize("case", CASES)
def test_what_is_returned_is_documented(load, ask, world, case):
    world.begin(**CASES[case][2])
    assert set(ask(case)) - COMMON == set(documented(load, CASES[case][0])[2])


@pytest.mark.parametrize("name", MODULES)
def test_attributes_and_examples_are_documented(load, name):
    documentation, examples, _returned = documented(load, name)
    assert set(documentation["attributes"]) == {"check_mode", "diff_mode", "platform"}
    assert documentation["attributes"]["check_mode"]["support"] == "full"
    assert any("aws_ha.egress." + name in task for task in examples)
