# SPDX-License-Identifier: GPL-3.0-or-later
"""The role nat_instance: its documentation is true, and it refuses what would write a bad configuration. No host is touched."""

from __future__ import annotations

import re

import jinja2
import pytest
import yaml

from .conftest import ROOT

ROLE = ROOT / "roles" / "nat_instance"
REQUIRED = {"nat_instance_cluster", "nat_instance_heartbeat_key", "nat_instance_route_tables"}


def load(name):
    return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))


def options():
    return load("meta/argument_specs.yml")["argument_specs"]["main"]["options"]


# A template is no list of dicts, so Ansible's documentation takes none as the default of one: the description says it.
COMPUTED = ("nat_instance_services",)


def test_documented_defaults_are_the_defaults():
    documented = {name: option["default"] for name, option in options().items() if "default" in option}
    defaults = load("defaults/main.yml")
    computed = {name: value for name, value in defaults.items() if name in COMPUTED}
    assert all(value.startswith("{{ ") for value in computed.values())
    assert documented | computed == defaults


def test_what_has_no_default_is_required():
    assert {name for name, option in options().items() if option.get("required")} == REQUIRED
    assert set(options()) == REQUIRED | set(load("defaults/main.yml"))


def test_the_readme_uses_variables_that_exist():
    used = set(re.findall(r"\bnat_instance_\w+", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert used >= REQUIRED
    assert used <= set(options())


def test_sections_take_what_the_engine_takes():
    """A section's documented options are accepted by the configuration, and no key of it lacks an option."""
    from nat_failover import errors
    from nat_failover.config import load as config

    raw = {
        "cluster": "prod",
        "self": "nat-a",
        "region": "eu-west-1",
        "interface": "ens5",
        "key_file": "/etc/nat-failover/heartbeat.key",
        "nodes": [
            {"name": "nat-a", "instance_id": "i-0aaaaaaaaaaaaaaaa", "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]},
            {"name": "nat-b", "instance_id": "i-0bbbbbbbbbbbbbbbb", "route_tables": []},
        ],
    }
    for section, variable in (
        *(
            (name, name)
            for name in ("heartbeat", "takeover", "return", "fence", "self_check", "canary", "handover", "ec2")
        ),
        ("witness", "witness_table"),
    ):
        with pytest.raises(errors.ConfigError) as refusal:
            config.parse({**raw, section: {"no_such_key": 1}})
        known = refusal.value.remedy.split(": ")[1].split(", ")
        assert set(known) == set(options()["nat_instance_" + variable]["options"]), section


@pytest.mark.parametrize("sources", [("10.0.0.0/16",), ("10.0.0.0/16", "2001:db8::/56")])
def test_the_file_sets_at_boot_what_the_root_helper_mends(sources):
    """The same keys and values in the same order: with IPv6 the order matters (docs/forwarding.md)."""
    from nat_failover.host import kernel as system
    from nat_failover.model.nat import Nat

    nat = Nat(sources, "ens5.7")
    tracked = {key: value for key, value in system.sysctls(nat).items() if "conntrack" in key}
    text = jinja2.Template((ROLE / "templates/90-nat-failover.conf.j2").read_text(encoding="utf-8")).render(
        __nat_instance_interface=nat.interface,
        __nat_instance_plan={"ipv6": nat.has_ipv6, "conntrack": tracked},
    )
    lines = [line.split(" = ") for line in text.splitlines() if " = " in line]
    # sysctl.d(5): where the first separator is a dot, dots and slashes change places.
    found = {
        key if "/" in key.split(".")[0] else key.translate(str.maketrans("./", "/.")): value for key, value in lines
    }
    assert found == system.sysctls(nat)
    assert [key for key in found if "ipv6" in key] == [key for key in system.sysctls(nat) if "ipv6" in key]


def test_the_unit_gives_the_socket_for_readers_to_their_group():
    """In its sandbox the service may not: @chown is in the system calls that it must do without."""
    from nat_failover.service import status_socket

    unit = (ROLE / "templates/nat-failover.service.j2").read_text(encoding="utf-8")
    names = load("vars/main.yml")
    assert names["__nat_instance_readers_socket"] == f"/run/nat-failover/{status_socket.NAME}"
    assert "ExecStartPost=+-/usr/bin/chgrp {{ __nat_instance_readers }} {{ __nat_instance_readers_socket }}\n" in unit
    assert "SystemCallFilter=~@privileged @resources" in (ROLE / "templates/conditions.j2").read_text(encoding="utf-8")
    for name in ("web", "hooks", "cloudwatch"):
        reader = (ROLE / f"templates/nat-failover-{name}.service.j2").read_text(encoding="utf-8")
        assert "SupplementaryGroups={{ __nat_instance_readers }}\n" in reader
