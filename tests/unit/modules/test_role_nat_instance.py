# SPDX-License-Identifier: GPL-3.0-or-later
"""The role nat_instance: its documentation is true, and it refuses what would write a bad configuration. No host is touched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

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
    from nat_failover.model import settings

    nat = settings.Nat(sources, "ens5.7")
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


NODE_A = {"nat_instance_instance_id": "i-0aaaaaaaaaaaaaaaa", "nat_instance_route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]}
NODE_B = {"nat_instance_instance_id": "i-0bbbbbbbbbbbbbbbb", "nat_instance_route_tables": ["rtb-0bbbbbbbbbbbbbbbb"]}
COMMON = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "nat_instance_cluster": "prod",
    "nat_instance_region": "eu-west-1",
    "nat_instance_heartbeat_key": "k" * 32,
    "nat_instance_interface": "lo",
}


@pytest.fixture
def preflight(collection, tmp_path):
    """Run only what the role always runs, in check mode, on nat-a; returns the nodes that it found, or the message it failed with."""
    play = [
        {
            "name": "Preflight",
            "hosts": "nat_nodes",
            "gather_facts": False,
            "roles": ["aws_ha.egress.nat_instance"],
            "post_tasks": [
                {
                    "name": "Show",
                    "ansible.builtin.debug": {"msg": "found {{ __nat_instance_members.nodes | to_json }}"},
                    "tags": ["always"],
                }
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))

    def run(hosts, **more):
        inventory = {"nat_nodes": {"vars": {**COMMON, **more}, "hosts": hosts}}
        (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
        env = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(collection),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "ANSIBLE_NOCOLOR": "1",
        }
        argv = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "hosts.yml", "play.yml"]
        argv += ["--check", "--limit", "nat-a", "--tags", "none"]
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        messages = re.findall(r'"msg": "(.*?)"\n', done.stdout.replace('\\"', "'"))
        assert messages, done.stdout + done.stderr
        text = messages[-1]
        assert (done.returncode == 0) == text.startswith("found "), done.stdout
        return json.loads(text[6:].replace("'", '"')) if done.returncode == 0 else text

    return run


def test_under_limit_peers_are_known_by_their_inventory(preflight):
    nodes = preflight(
        {"nat-a": NODE_A, "nat-b": {**NODE_B, "nat_instance_name": "bee", "nat_instance_address": "10.0.1.10"}}
    )
    assert nodes == [
        {"name": "nat-a", "instance_id": "i-0aaaaaaaaaaaaaaaa", "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]},
        {
            "name": "bee",
            "instance_id": "i-0bbbbbbbbbbbbbbbb",
            "route_tables": ["rtb-0bbbbbbbbbbbbbbbb"],
            "address": "10.0.1.10",
        },
    ]


def test_nodes_known_by_their_tags_need_no_ids(preflight):
    hosts = {"nat-a": NODE_A, "nat-b": {"nat_instance_route_tables": []}}
    assert preflight(hosts, nat_instance_known_by="tags") == [
        {"name": "nat-a", "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]},
        {"name": "nat-b", "route_tables": []},
    ]


def test_a_witness_is_told_apart(preflight):
    witness = {**NODE_B, "nat_instance_route_tables": [], "nat_instance_witness": True}
    witness["nat_instance_instance_id"] = "i-0cccccccccccccccc"
    nodes = preflight({"nat-a": NODE_A, "nat-b": NODE_B, "nat-w": witness})
    assert [node.get("witness", False) for node in nodes] == [False, False, True]


def test_nodes_of_another_cluster_are_no_peers(preflight):
    other = {**NODE_B, "nat_instance_cluster": "staging", "nat_instance_instance_id": "i-0cccccccccccccccc"}
    nodes = preflight({"nat-a": NODE_A, "nat-b": NODE_B, "nat-x": other})
    assert [node["name"] for node in nodes] == ["nat-a", "nat-b"]


@pytest.mark.parametrize("lacking", sorted(NODE_B))
def test_a_peer_that_cannot_be_known_is_named_and_never_forgotten(preflight, lacking):
    message = preflight({"nat-a": NODE_A, "nat-b": {key: NODE_B[key] for key in NODE_B if key != lacking}})
    assert message.startswith(f"not known: {lacking} of nat-b.")


def test_members_of_different_vpcs_are_refused(preflight):
    """As a stranger would be that came into the inventory by a tag."""
    hosts = {"nat-a": {**NODE_A, "nat_instance_vpc_id": "vpc-0a"}, "nat-b": {**NODE_B, "nat_instance_vpc_id": "vpc-0b"}}
    message = preflight(hosts)
    assert "the cluster prod lies in one VPC" in message
    assert "nat-a in vpc-0a, nat-b in vpc-0b" in message
    same = {name: {**host, "nat_instance_vpc_id": "vpc-0a"} for name, host in hosts.items()}
    assert [node["name"] for node in preflight(same)] == ["nat-a", "nat-b"]
    assert [node["name"] for node in preflight({**same, "nat-b": NODE_B})] == ["nat-a", "nat-b"]


def test_a_short_key_is_refused_without_being_shown(preflight):
    message = preflight({"nat-a": NODE_A, "nat-b": NODE_B}, nat_instance_heartbeat_key="s3cret" * 4)
    assert "nat_instance_heartbeat_key: the key in line 1 is too short: 24 of at least 32 characters" in message
    assert "s3cret" not in message


def test_an_interface_that_is_not_there(preflight):
    message = preflight({"nat-a": NODE_A, "nat-b": NODE_B}, nat_instance_interface="nope0")
    assert message.startswith(
        "nat_instance_interface: nope0 is no interface of this host; set nat_instance_interface to"
    )


# The facts of a distribution (ansible.builtin.setup), and the files that the role then looks for.
APT = ["iptables", "iproute2", "nftables", "procps", "python3", "python3-boto3"]
DNF = ["iptables-nft", "iproute", "nftables", "procps-ng", "python3", "python3-boto3"]
DISTRIBUTIONS = [
    ({"distribution": "Debian", "os_family": "Debian", "pkg_mgr": "apt"}, "12", "dpkg-query", APT),
    ({"distribution": "Ubuntu", "os_family": "Debian", "pkg_mgr": "apt"}, "24", "dpkg-query", APT),
    ({"distribution": "Amazon", "os_family": "RedHat", "pkg_mgr": "dnf"}, "2023", "rpm", DNF),
    ({"distribution": "RedHat", "os_family": "RedHat", "pkg_mgr": "dnf"}, "9", "rpm", DNF),
    ({"distribution": "AlmaLinux", "os_family": "RedHat", "pkg_mgr": "dnf"}, "9", "rpm", DNF),
    (
        {"distribution": "AlmaLinux", "os_family": "RedHat", "pkg_mgr": "dnf"},
        "10",
        "rpm",
        [*DNF, "kernel-modules-extra"],
    ),
    ({"distribution": "Alpine", "os_family": "Alpine", "pkg_mgr": "apk"}, "3", None, []),
]


@pytest.fixture
def role_part(collection, tmp_path):
    """Run some task files of the role on this machine in check mode, with facts of another; what it said, and its exit code."""

    def run(parts, facts, path="", **variables):
        play = [
            {
                "name": "A part of the role",
                "hosts": "localhost",
                "connection": "local",
                "gather_facts": False,
                "vars": {
                    "ansible_python_interpreter": sys.executable,
                    "nat_instance_route_tables": [],
                    "__nat_instance": "{{ __nat_instance_asked }}",
                    **COMMON,
                    **variables,
                },
                "tasks": [
                    {"name": "Facts", "ansible.builtin.set_fact": {"cacheable": True, **facts}},
                    *(
                        {
                            "name": "Part",
                            "ansible.builtin.include_role": {
                                "name": "aws_ha.egress.nat_instance",
                                "tasks_from": part,
                                "rolespec_validate": False,
                            },
                        }
                        for part in parts
                    ),
                ],
            }
        ]
        (tmp_path / "part.yml").write_text(json.dumps(play))
        env = {
            **os.environ,
            "PATH": path + os.pathsep + os.environ["PATH"] if path else os.environ["PATH"],
            "ANSIBLE_COLLECTIONS_PATH": str(collection),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "ANSIBLE_NOCOLOR": "1",
        }
        argv = [
            os.path.join(os.path.dirname(sys.executable), "ansible-playbook"),
            "-i",
            "localhost,",
            "part.yml",
            "--check",
        ]
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def package_database(folder, command, installed):
    """A dpkg-query or rpm that knows some packages; it checks how it is asked."""
    folder.mkdir()
    wanted = {"dpkg-query": "--show --showformat=", "rpm": "--query --queryformat"}[command]
    script = f'#!/bin/sh\ncase "$*" in "{wanted}"*) ;; *) exit 64 ;; esac\n'
    script += "".join(f"echo installed {name}\n" for name in installed)
    (folder / command).write_text(script)
    (folder / command).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("facts", "release", "command", "names"),
    DISTRIBUTIONS,
    ids=[row[0]["distribution"] + row[1] for row in DISTRIBUTIONS],
)
def test_each_distribution_is_asked_for_its_own_packages(role_part, tmp_path, facts, release, command, names):
    facts = {**facts, "distribution_major_version": release}
    path = package_database(tmp_path / "bin", command, names[:2]) if command else ""
    code, said = role_part(["inspect", "packages"], facts, path)
    assert code == 0, said
    assert ("would be installed: {}".format(", ".join(sorted(names[2:]))) in said) == bool(names), said
    code, said = role_part(
        ["inspect", "packages"], facts, package_database(tmp_path / "all", command, names) if command else ""
    )
    assert code == 0 and "would be installed" not in said


def python_that_says(folder, *lines):
    folder.mkdir()
    (folder / "python").write_text(
        "#!/bin/sh\n" + "".join(f"echo {line}\n" for line in lines) + f"exit {len(lines) < 2}\n"
    )
    (folder / "python").chmod(0o755)
    return str(folder / "python")


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        (("3.9", "1.26.27"), ""),  # Amazon Linux 2023 and RHEL 9 have Python 3.9, Debian 12 this boto3
        (("3.13", "1.37.9"), ""),
        (("3.10", "1.20.34"), "is Python 3.10 with boto3 1.20.34"),  # Ubuntu 22.04
        (("3.9",), "is Python 3.9 with boto3 missing"),
        (("3.7", "1.33.13"), "is Python 3.7 with boto3 1.33.13"),
        ((), "is Python unknown with boto3 missing"),
    ],
)
def test_a_python_without_a_fitting_boto3_is_refused(role_part, tmp_path, lines, refusal):
    python = python_that_says(tmp_path / "bin", *lines)
    code, said = role_part(
        ["inspect", "interpreter"], {"distribution": "none", "os_family": "none"}, nat_instance_python=python
    )
    assert (code == 0) == (not refusal), said
    assert refusal in " ".join(said.split())


BOTH = {"nat-a": NODE_A, "nat-b": NODE_B}


def test_text_from_an_ini_inventory_means_the_same(preflight):
    asked = {"nat_instance_manage_packages": "false", "nat_instance_unseen_after_s": "15", "nat_instance_witness": "no"}
    assert [node["name"] for node in preflight(BOTH, **asked)] == ["nat-a", "nat-b"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nat_instance_mod": "observe"}, "nat_instance_mod is not known; did you mean nat_instance_mode?"),
        ({"nat_instance_fence": {"afters": 5}}, "nat_instance_fence.afters is not known; did you mean"),
        ({"nat_instance_mode": "auto"}, "nat_instance_mode (got 'auto') must be one of observe, route, full"),
        (
            {"nat_instance_fence": {"after_s": 1}},
            "nat_instance_fence.after_s: is shorter than the 7.7 s that the slower node needs",
        ),
        ({"nat_instance_name": "x y"}, "nat_instance_name of nat-a and nat-b is the same (got 'x y')"),
    ],
)
def test_check_mode_refuses_what_the_run_refuses_in_one_line(preflight, given, said):
    message = preflight(BOTH, **given)
    assert message.startswith(said) and len(message) < 400


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
