# SPDX-License-Identifier: GPL-3.0-or-later
"""Services in the configuration: what is taken, and what is refused with its remedy."""

from __future__ import annotations

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import ConfigError

from .policy_case import ME, PEER, make_config
from .service_case import SERVICE, VIP


def test_a_service_of_the_configuration():
    config = make_config(destinations=["0.0.0.0/0", VIP], services=[SERVICE])
    assert config.service_of == {VIP: "proxy"}
    assert make_config().services == ()
    same = {**SERVICE, "destinations": ["100.64.99.1"]}
    assert make_config(destinations=["0.0.0.0/0", VIP], services=[same]).service_of == {VIP: "proxy"}


@pytest.mark.parametrize(
    ("changes", "key", "problem", "remedy"),
    [
        ({"destinations": ["0.0.0.0/0"]}, "destinations", "is the default route", "name the /32"),
        ({"destinations": ["128.0.0.0/1"]}, "destinations", "is the default route", "name the /32"),
        ({"destinations": ["::/0"]}, "destinations", "is the default route", "name the /32"),
        ({"destinations": ["100.64.99.2/32"]}, "destinations", "is not among the destinations", "add it"),
        ({"destinations": []}, "destinations", "is empty", "name the destinations"),
        ({"name": "Proxy!"}, "name", "invalid name", "lower-case"),
        ({"file": "verdict.json"}, "file", "is not an absolute path", "/run/"),
        ({"port": 3128}, "port", "is unknown", "known here"),
    ],
)
def test_a_bad_service_is_refused_with_its_remedy(changes, key, problem, remedy):
    with pytest.raises(ConfigError) as refused:
        make_config(destinations=["0.0.0.0/0", "128.0.0.0/1", VIP], services=[{**SERVICE, **changes}])
    assert refused.value.key == f"services[0].{key}"
    assert problem in str(refused.value) and remedy in str(refused.value)


def test_services_share_neither_names_nor_destinations():
    other = {**SERVICE, "name": "other"}
    with pytest.raises(ConfigError, match="a destination depends on one service"):
        make_config(destinations=["0.0.0.0/0", VIP], services=[SERVICE, other])
    more = ["0.0.0.0/0", VIP, "100.64.99.2/32"]
    with pytest.raises(ConfigError, match="give each service a name of its own"):
        make_config(destinations=more, services=[SERVICE, {**SERVICE, "destinations": ["100.64.99.2/32"]}])
    many = [f"100.64.99.{number}/32" for number in range(9)]
    rows = [{"name": f"s{number}", "file": "/f", "destinations": [each]} for number, each in enumerate(many)]
    with pytest.raises(ConfigError, match="more than 8"):
        make_config(destinations=many, services=rows)
    assert len(make_config(destinations=many, services=rows[:8]).services) == 8


@pytest.mark.parametrize("destination", ["pl-0123456789abcdef0", "192.0.0.0/2", "2001:db8:9::1/128"])
def test_a_destination_of_a_service_may_be_anything_but_a_default_route(destination):
    mine = {**SERVICE, "destinations": [destination]}
    config = make_config(
        destinations=["0.0.0.0/0", destination], services=[mine], sources=["10.0.0.0/16", "2001:db8::/56"]
    )
    assert config.service_of == {destination: "proxy"}


def test_a_witness_has_no_services():
    raw = {
        "cluster": "c",
        "self": "w",
        "region": "eu-west-1",
        "nodes": [{"name": ME}, {"name": PEER}, {"name": "w", "witness": True}],
        "interface": "ens5",
        "key_file": "/k",
        "destinations": ["0.0.0.0/0", VIP],
        "services": [SERVICE],
    }
    assert configuration.parse(raw).services == ()
    assert configuration.parse({**raw, "self": ME}).service_of == {VIP: "proxy"}
