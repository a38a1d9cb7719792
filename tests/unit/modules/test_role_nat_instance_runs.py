# SPDX-License-Identifier: GPL-3.0-or-later
"""The role nat_instance in check mode: the nodes that it finds, and all that it refuses. No host is touched.

A start of Ansible takes longer than a case. So one run plays many cases, each on hosts of its own; a host that fails does not keep the
others from going on.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.timeout(900)  # for all cases of a run, on a busy machine
ROLE = Path(__file__).resolve().parents[3] / "roles" / "nat_instance"
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
BOTH = {"nat-a": NODE_A, "nat-b": NODE_B}


def play(collection, folder, hosts, tasks, *flags, **variables):
    """Run a play in check mode; by host, all that its tasks answered."""
    (folder / "hosts.yml").write_text(json.dumps({"nat_nodes": {"hosts": hosts}}))
    (folder / "play.yml").write_text(
        json.dumps([{"name": "Cases", "hosts": "nat_nodes", "gather_facts": False, **variables, **tasks}])
    )
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collection),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
    }
    argv = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "hosts.yml", "play.yml"]
    done = subprocess.run([*argv, "--check", *flags], cwd=folder, env=env, capture_output=True, text=True, check=False)
    answers = {host: [] for host in hosts}
    for found in re.finditer(r"^(\S+) \| (\w+)!? => ", done.stdout, re.MULTILINE):
        answer = json.JSONDecoder().raw_decode(done.stdout, found.end())[0]
        answers[found[1]].append({**answer, "failed": found[2] == "FAILED"})
    assert any(answers.values()), done.stdout + done.stderr
    return answers


def short_of(*names):
    """Two nodes, of which the second lacks some variables."""
    return {"nat-a": NODE_A, "nat-b": {key: value for key, value in NODE_B.items() if key not in names}}


def in_vpcs(a, b):
    """Two nodes that say in which VPC they are, or do not."""
    nodes = {"nat-a": (NODE_A, a), "nat-b": (NODE_B, b)}
    return {name: {**node, **({"nat_instance_vpc_id": vpc} if vpc else {})} for name, (node, vpc) in nodes.items()}


WITNESS = {"nat_instance_instance_id": "i-0cccccccccccccccc", "nat_instance_route_tables": []}
# By the name of a case: its hosts with their variables, and variables of all of them.
CASES = {
    "peers": (
        {"nat-a": NODE_A, "nat-b": {**NODE_B, "nat_instance_name": "bee", "nat_instance_address": "10.0.1.10"}},
        {},
    ),
    "tags": ({"nat-a": NODE_A, "nat-b": {"nat_instance_route_tables": []}}, {"nat_instance_known_by": "tags"}),
    "witness": ({**BOTH, "nat-w": {**WITNESS, "nat_instance_witness": True}}, {}),
    "other cluster": ({**BOTH, "nat-x": {**WITNESS, "nat_instance_cluster": "staging"}}, {}),
    "no nat_instance_instance_id": (short_of("nat_instance_instance_id"), {}),
    "no nat_instance_route_tables": (short_of("nat_instance_route_tables"), {}),
    "two vpcs": (in_vpcs("vpc-0a", "vpc-0b"), {}),
    "same vpc": (in_vpcs("vpc-0a", "vpc-0a"), {}),
    "one vpc": (in_vpcs("vpc-0a", ""), {}),
    "short key": (BOTH, {"nat_instance_heartbeat_key": "s3cret" * 4}),
    "no interface": (BOTH, {"nat_instance_interface": "nope0"}),
    "text": (
        BOTH,
        {
            "nat_instance_manage_packages": "false",
            "nat_instance_unseen_after_s": "15",
            "nat_instance_witness": "no",
        },
    ),
    "misspelt": (BOTH, {"nat_instance_mod": "observe"}),
    "misspelt key": (BOTH, {"nat_instance_fence": {"afters": 5}}),
    "no choice": (BOTH, {"nat_instance_mode": "auto"}),
    "early fence": (BOTH, {"nat_instance_fence": {"after_s": 1}}),
    "same name": (BOTH, {"nat_instance_name": "x y"}),
}


@pytest.fixture(scope="module")
def preflight(collection, tmp_path_factory):
    """The tasks that always run, in check mode, on the first host of each case; the nodes found, or the message of the failure."""
    numbers = {case: f"{number:02}" for number, case in enumerate(CASES)}

    def own(case, data):
        """The variables with names and ids that no other case has."""
        text = re.sub(r"(\w)\1{15}\b", lambda found: found[1] * 14 + numbers[case], json.dumps(data))
        return json.loads(text)

    hosts = {
        f"{name}-x{numbers[case]}": {**COMMON, "nat_instance_cluster": f"prod-x{numbers[case]}", **own(case, given)}
        for case, (nodes, shared) in CASES.items()
        for name, given in ((name, {**shared, **variables}) for name, variables in nodes.items())
    }
    show = {"msg": "found {{ __nat_instance_members.nodes | to_json }}"}
    # All are this machine: it is asked once for the facts that the role would gather on each host.
    facts = {"gather_subset": ["!all", "!min", "distribution", "pkg_mgr", "network"]}
    tasks = {
        "pre_tasks": [{"name": "Facts", "ansible.builtin.setup": facts, "run_once": True, "tags": ["always"]}],
        "roles": ["aws_ha.egress.nat_instance"],
        "post_tasks": [{"name": "Show", "ansible.builtin.debug": show, "tags": ["always"]}],
    }
    answers = play(
        collection, tmp_path_factory.mktemp("preflight"), hosts, tasks, "--limit", "nat-a-*", "--tags", "none"
    )

    def result(case):
        """The answer to a case, with the names as the case has them."""
        said = [answer["msg"] for answer in answers[f"nat-a-x{numbers[case]}"] if "msg" in answer][-1]
        text = re.sub(r"(\w)\1{13}\d\d\b", lambda found: found[1] * 16, said.replace(f"-x{numbers[case]}", ""))
        return json.loads(text[6:]) if text.startswith("found ") else text

    return result


def test_under_limit_peers_are_known_by_their_inventory(preflight):
    assert preflight("peers") == [
        {"name": "nat-a", "instance_id": "i-0aaaaaaaaaaaaaaaa", "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]},
        {
            "name": "bee",
            "instance_id": "i-0bbbbbbbbbbbbbbbb",
            "route_tables": ["rtb-0bbbbbbbbbbbbbbbb"],
            "address": "10.0.1.10",
        },
    ]


def test_nodes_known_by_their_tags_need_no_ids(preflight):
    assert preflight("tags") == [
        {"name": "nat-a", "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]},
        {"name": "nat-b", "route_tables": []},
    ]


def test_a_witness_is_told_apart(preflight):
    assert [node.get("witness", False) for node in preflight("witness")] == [False, False, True]


def test_nodes_of_another_cluster_are_no_peers(preflight):
    assert [node["name"] for node in preflight("other cluster")] == ["nat-a", "nat-b"]


@pytest.mark.parametrize("lacking", sorted(NODE_B))
def test_a_peer_that_cannot_be_known_is_named_and_never_forgotten(preflight, lacking):
    assert preflight(f"no {lacking}").startswith(f"not known: {lacking} of nat-b.")


def test_members_of_different_vpcs_are_refused(preflight):
    """As a stranger would be that came into the inventory by a tag."""
    message = preflight("two vpcs")
    assert "the cluster prod lies in one VPC" in message
    assert "nat-a in vpc-0a, nat-b in vpc-0b" in message
    assert [node["name"] for node in preflight("same vpc")] == ["nat-a", "nat-b"]
    assert [node["name"] for node in preflight("one vpc")] == ["nat-a", "nat-b"]


def test_a_short_key_is_refused_without_being_shown(preflight):
    message = preflight("short key")
    assert "nat_instance_heartbeat_key: the key in line 1 is too short: 24 of at least 32 characters" in message
    assert "s3cret" not in message


def test_an_interface_that_is_not_there(preflight):
    assert preflight("no interface").startswith(
        "nat_instance_interface: nope0 is no interface of this host; set nat_instance_interface to"
    )


def test_text_from_an_ini_inventory_means_the_same(preflight):
    assert [node["name"] for node in preflight("text")] == ["nat-a", "nat-b"]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("misspelt", "nat_instance_mod is not known; did you mean nat_instance_mode?"),
        ("misspelt key", "nat_instance_fence.afters is not known; did you mean"),
        ("no choice", "nat_instance_mode (got 'auto') must be one of observe, route, full"),
        ("early fence", "nat_instance_fence.after_s: is shorter than the 7.7 s that the slower node needs"),
        ("same name", "nat_instance_name of nat-a and nat-b is the same (got 'x y')"),
    ],
)
def test_check_mode_refuses_what_the_run_refuses_in_one_line(preflight, case, said):
    message = preflight(case)
    assert message.startswith(said) and len(message) < 400


# The facts of a distribution (ansible.builtin.setup), and the files that the role then looks for.
APT = ["iptables", "iproute2", "nftables", "procps", "python3", "python3-boto3"]
DNF = ["iptables-nft", "iproute", "nftables", "procps-ng", "python3", "python3-boto3"]
DISTRIBUTIONS = {
    "debian-12": ("Debian", "Debian", "apt", "dpkg-query", APT),
    "ubuntu-24": ("Ubuntu", "Debian", "apt", "dpkg-query", APT),
    "amazon-2023": ("Amazon", "RedHat", "dnf", "rpm", DNF),
    "redhat-9": ("RedHat", "RedHat", "dnf", "rpm", DNF),
    "almalinux-9": ("AlmaLinux", "RedHat", "dnf", "rpm", DNF),
    "almalinux-10": ("AlmaLinux", "RedHat", "dnf", "rpm", [*DNF, "kernel-modules-extra"]),
    "alpine-3": ("Alpine", "Alpine", "apk", None, []),
}
# By name: the lines that a Python says, which are its version and boto3's, and what the role says of it.
PYTHONS = {
    "old": (("3.9", "1.26.27"), ""),  # Amazon Linux 2023 and RHEL 9 have Python 3.9, Debian 12 this boto3
    "new": (("3.13", "1.37.9"), ""),
    "old-boto3": (("3.10", "1.20.34"), "is Python 3.10 with boto3 1.20.34"),  # Ubuntu 22.04
    "no-boto3": (("3.9",), "is Python 3.9 with boto3 missing"),
    "too-old": (("3.7", "1.33.13"), "is Python 3.7 with boto3 1.33.13"),
    "silent": ((), "is Python unknown with boto3 missing"),
}


def package_database(folder, command, installed):
    """A dpkg-query or rpm that knows some packages; it checks how it is asked."""
    folder.mkdir()
    wanted = {"dpkg-query": "--show --showformat=", "rpm": "--query --queryformat"}[command]
    script = f'#!/bin/sh\ncase "$*" in "{wanted}"*) ;; *) exit 64 ;; esac\n'
    script += "".join(f"echo installed {name}\n" for name in installed)
    (folder / command).write_text(script)
    (folder / command).chmod(0o755)
    return str(folder)


def python_that_says(folder, *lines):
    folder.mkdir()
    (folder / "python").write_text(
        "#!/bin/sh\n" + "".join(f"echo {line}\n" for line in lines) + f"exit {len(lines) < 2}\n"
    )
    (folder / "python").chmod(0o755)
    return str(folder / "python")


FACTS = ("distribution", "distribution_major_version", "os_family", "pkg_mgr")


@pytest.fixture(scope="module")
def parts(collection, tmp_path_factory):
    """Task files of the role on this machine with facts of others, by host: whether it failed, and all that it said."""
    folder = tmp_path_factory.mktemp("parts")
    hosts = {}
    for name, (distribution, family, manager, command, names) in DISTRIBUTIONS.items():
        facts = dict(zip(FACTS, (distribution, name.split("-")[1], family, manager), strict=True))
        for number, installed in enumerate((names[:2], names)):
            where = package_database(folder / f"{name}-{number}", command, installed) if command else "/nowhere"
            hosts[f"{name}-{number}"] = {"case_facts": facts, "case_path": where, "case_part": "packages"}
    for name, (lines, _refusal) in PYTHONS.items():
        facts = dict(zip(FACTS, ("Alpine", "3", "Alpine", "apk"), strict=True))  # the role knows no packages of it
        python = {"nat_instance_python": python_that_says(folder / name, *lines)}
        hosts[name] = {"case_facts": facts, "case_path": "/nowhere", "case_part": "interpreter", **python}
    role = {"name": "aws_ha.egress.nat_instance", "rolespec_validate": False, "tasks_from": "inspect", "public": True}
    tasks = [
        {
            "name": "Facts",
            "ansible.builtin.set_fact": {"cacheable": True, **{key: f"{{{{ case_facts.{key} }}}}" for key in FACTS}},
        },
        # As the role does: otherwise each use of a variable types all of them anew.
        {
            "name": "Type",
            "ansible.builtin.set_fact": {"__nat_instance": "{{ __nat_instance_asked }}"},
            "vars": {"role_path": str(ROLE)},
        },
        {"name": "Inspect", "ansible.builtin.include_role": role},
        {"name": "Part", "ansible.builtin.include_tasks": f"{ROLE}/tasks/{{{{ case_part }}}}.yml"},
    ]
    shared = {**yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()), **COMMON, "nat_instance_route_tables": []}
    cases = {name: {**shared, **own} for name, own in hosts.items()}
    path = {"PATH": "{{ case_path }}" + os.pathsep + os.environ["PATH"]}
    names = [str(ROLE / "vars" / "main.yml")]
    answers = play(collection, folder, cases, {"tasks": tasks}, environment=path, vars_files=names)

    def result(name):
        said = answers[name]
        return any(answer["failed"] for answer in said), " ".join(str(answer.get("msg", "")) for answer in said)

    return result


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_each_distribution_is_asked_for_its_own_packages(parts, name):
    names = DISTRIBUTIONS[name][-1]
    failed, said = parts(f"{name}-0")
    assert not failed, said
    assert ("would be installed: {}".format(", ".join(sorted(names[2:]))) in said) == bool(names), said
    failed, said = parts(f"{name}-1")
    assert not failed and "would be installed" not in said


@pytest.mark.parametrize("name", PYTHONS)
def test_a_python_without_a_fitting_boto3_is_refused(parts, name):
    refusal = PYTHONS[name][-1]
    failed, said = parts(name)
    assert failed == bool(refusal), said
    assert refusal in " ".join(said.split())
