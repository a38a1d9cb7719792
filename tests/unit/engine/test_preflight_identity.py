# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host this is, by IMDS and by the configuration: swapped ids and a cloned image are refused."""

from __future__ import annotations

import pytest

from nat_failover.config import load
from nat_failover.errors import ConfigError, Ec2Error
from nat_failover.service.preflight import check_identity

A, B, OTHER = "i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb", "i-0cccccccccccccccc"


def config(self_name="nat-a", **change):
    nodes = [
        {"name": "nat-a", "instance_id": A, "route_tables": ["rtb-0aaaaaaaaaaaaaaaa"]},
        {"name": "nat-b", "instance_id": B, "route_tables": []},
    ]
    for node in nodes:
        node.update(change)
    raw = {"cluster": "prod", "self": self_name, "region": "eu-west-1", "interface": "lo", "key_file": "/k"}
    return load.parse({**raw, "nodes": nodes})


def imds(instance_id):
    return lambda: {"instance_id": instance_id}


def test_the_host_that_is_meant():
    assert check_identity(config(), imds(A)) == [f"this host is {A}"]


def test_swapped_ids_are_refused_with_the_node_that_this_host_is():
    with pytest.raises(ConfigError) as refused:
        check_identity(config(), imds(B))
    assert str(refused.value).startswith(
        f"nodes[0].instance_id: this host is the instance {B}, which is the node nat-b"
    )


def test_an_image_that_was_started_as_another_instance_is_refused():
    with pytest.raises(ConfigError, match=rf"nodes\[1\].instance_id: this host is the instance {OTHER} "):
        check_identity(config("nat-b"), imds(OTHER))


def test_a_node_known_by_its_tags_has_no_id_to_compare():
    assert check_identity(config(instance_id=""), imds(OTHER)) == [f"this host is {OTHER}"]


def test_without_imds_nothing_is_proven():
    def silent():
        raise Ec2Error("IMDS", "http://169.254.169.254", "Timeout", "timed out", retryable=True)

    [line] = check_identity(config(), silent)
    assert line.startswith("the identity of this host is not proven (IMDS on")
