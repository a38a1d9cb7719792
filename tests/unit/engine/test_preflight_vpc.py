# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of the VPC against the sources; all of it with EC2: tests/integration/adapter/test_preflight.py."""

from __future__ import annotations

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import ConfigError
from nat_failover.service import preflight_vpc

BOTH = {"destinations": ["0.0.0.0/0", "::/0"]}


def config(**changes):
    raw = {
        "cluster": "prod",
        "self": "nat-a",
        "region": "eu-west-1",
        "nodes": [{"name": "nat-a", "instance_id": "i-0aaaaaaaaaaaaaaaa"}, {"name": "nat-b"}],
        "interface": "ens5",
        "key_file": "/etc/nat-failover/heartbeat.key",
        "sources": ["10.0.0.0/16"],
        **changes,
    }
    return configuration.parse(raw)


@pytest.mark.parametrize(
    ("networks", "changes", "named"),
    [
        (["10.0.0.0/16"], {}, ""),
        (["10.0.0.0/16", "10.0.4.0/22"], {}, ""),
        (["10.0.0.0/15"], {}, "10.0.0.0/15"),
        (["10.0.0.0/15"], {"sources": ["10.0.0.0/16", "10.1.0.0/16"]}, ""),
        (["10.0.0.0/16", "100.64.0.0/16"], {}, "100.64.0.0/16"),
        (["10.0.0.0/16", "100.64.0.0/16"], {"ec2": {"unserved_networks": ["100.64.0.0/10"]}}, ""),
        (["10.0.0.0/16", "100.64.0.0/16", "198.18.0.0/15"], {}, "100.64.0.0/16, 198.18.0.0/15"),
        (["10.0.0.0/16", "2001:db8::/56"], {}, ""),  # no IPv6 route is this cluster's
        (["2001:db8::/56"], {**BOTH, "sources": ["10.0.0.0/8", "2001:db8:0:1::/64"]}, "2001:db8::/56"),
        (["10.0.0.0/16", "2001:db8::/56"], {**BOTH, "sources": ["10.0.0.0/8", "2001:db8::/56"]}, ""),
    ],
)
def test_each_network_of_the_vpc_is_served_or_named(networks, changes, named):
    lines = preflight_vpc.not_served(config(**changes), networks)
    assert [f"the VPC also has {named}, whose packets" in line for line in lines] == [True] * bool(named)


def test_a_witness_serves_nobody():
    nodes = [{"name": "nat-a", "witness": True}, {"name": "nat-b"}, {"name": "nat-c"}]
    assert preflight_vpc.not_served(config(nodes=nodes), ["100.64.0.0/16"]) == []


@pytest.mark.parametrize("network", ["100.64.0.0", "x", "100.64.1.0/16"])
def test_what_is_no_network_is_refused(network):
    if network == "100.64.0.0":
        assert config(ec2={"unserved_networks": [network]}).ec2.unserved == ("100.64.0.0/32",)
        return
    with pytest.raises(ConfigError, match="ec2.unserved_networks"):
        config(ec2={"unserved_networks": [network]})


def test_every_region_of_botocore_is_one():
    session = pytest.importorskip("botocore.session").Session()
    regions = [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("ec2", partition)
    ]
    assert len(regions) >= 20
    assert [config(region=region).region for region in regions] == regions
    for wrong in ("eu-west", "eu-west-1a", "EU-WEST-1", "aws-global", ""):
        with pytest.raises(ConfigError, match="region"):
            config(region=wrong)
