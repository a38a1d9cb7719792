# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of a running lab (``status.describe``) for people, for ssh, for Ansible and for AWS clients."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .fabric.names import API, INTERNET, INTERNET6, INTERNET_MORE, OPS, Names
from .hosts import relay
from .settings import KEY, KNOWN_HOSTS

GROUP = "nat_nodes"


def text(data: dict[str, Any]) -> str:
    """For people."""
    lines = [f"lab {data['name']} is up ({data['weight']}), EC2 API at {data['endpoint']}"]
    for name, host in data["hosts"].items():
        line = f"  {name:<10} {host['address']:<12} {host['state']:<7}"
        if "instance_id" in host:
            check = "on" if host["source_dest_check"] else "off"
            line += f" {host['instance_id']} {host['instance_state']}, {host['public_ip']}, source/dest check {check}"
        lines.append(line.rstrip())
    for zone, route in data["routes"].items():
        lines.append(f"  private subnet {zone}: {route['table']} -> {route['owner'] or 'nothing'}")
    lines += [f"  link fault: {_pairs(fault)}" for fault in data["link_faults"]]
    lines += [f"  security group of {host}: {kind}" for host, kind in data["security_groups"].items()]
    faults = data["api_faults"]
    lines += [
        f"  API fault {key}: {_pairs(rule)}" for key, rule in (faults.items() if isinstance(faults, dict) else ())
    ]
    return "\n".join(lines)


def inventory(data: dict[str, Any]) -> dict[str, Any]:
    """An Ansible inventory of the NAT nodes, with what the role needs to know of this VPC."""
    names = Names(data["name"])
    nodes = {
        name: {
            "ansible_host": names.ssh_name(name),
            "ansible_ssh_common_args": _arguments(_ssh_options(names, host["address"])),
            "nat_instance_instance_id": host["instance_id"],
            "nat_instance_address": host["address"],
            "nat_instance_route_tables": host["route_tables"],
            **{f"nat_instance_egress_{key}": value for key, value in host.get("egress", {}).items()},
        }
        for name, host in _nodes(data).items()
    }
    variables = {
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(names.state / KEY),
        "nat_instance_cluster": data["cluster"],
        "nat_instance_region": data["region"],
        "nat_instance_ec2": {"endpoint_url": f"http://{API}"},
        "nat_instance_conntrack": {"max": 0},  # the size of the table is this machine's, and no host's to set
        **({"nat_instance_canary": {"targets_ipv6": [f"[{INTERNET6}]:443"]}} if data["ipv6"] else {}),
        "nat_instance_self_check": {"targets": [f"{address}:443" for address in (INTERNET, *INTERNET_MORE)]},
    }
    return {"all": {"children": {GROUP: {"hosts": nodes, "vars": variables}}}}


def ssh_config(data: dict[str, Any]) -> str:
    """For ``ssh -F``."""
    names = Names(data["name"])
    lines = []
    for name, host in _nodes(data).items():
        lines += [f"Host {name}", f"  HostName {names.ssh_name(name)}", "  User root"]
        lines += [f"  IdentityFile {names.state / KEY}"]
        lines += [f"  {key} {value}" for key, value in _ssh_options(names, host["address"]).items()]
    return "\n".join(lines)


def environment(data: dict[str, Any]) -> dict[str, str]:
    """For the AWS command line and boto3, as the operator."""
    return {
        "AWS_ENDPOINT_URL": data["endpoint"],
        "AWS_REGION": data["region"],
        "AWS_DEFAULT_REGION": data["region"],
        "AWS_ACCESS_KEY_ID": data["access_key"],
        "AWS_SECRET_ACCESS_KEY": data["secret_key"],
    }


def _nodes(data: dict[str, Any]) -> dict[str, Any]:
    return {name: host for name, host in data["hosts"].items() if "instance_id" in host}


def _ssh_options(names: Names, address: str) -> dict[str, str]:
    """Options by which ssh meets this lab's hosts only: what it keeps by host name is of this lab as well."""
    way = f"ip netns exec {names.namespace(OPS)} {sys.executable} -I {Path(relay.__file__).resolve()} %h {address} %p"
    return {
        "ProxyCommand": way,
        "ControlPath": names.ssh_control,
        "UserKnownHostsFile": str(names.state / KNOWN_HOSTS),
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
    }


def _arguments(options: dict[str, str]) -> str:
    return " ".join(f"-o {key}={_quoted(value)}" for key, value in options.items())


def _quoted(value: str) -> str:
    return f"'{value}'" if " " in value else value


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items() if value not in (None, "", []))
