# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the role nat_instance, called as its tasks call them."""

from __future__ import annotations

import pytest
import yaml

from ..conftest import ROOT
from .given import KEY_FILE, OPTIONS, PROD


@pytest.fixture
def filters(load):
    return load("filter.nat_instance").FilterModule().filters()


@pytest.fixture
def asked(load):
    """The role's variables as its tasks see them."""

    def call(host="nat-a", **given):
        defaults = yaml.safe_load((ROOT / "roles/nat_instance/defaults/main.yml").read_text(encoding="utf-8"))
        named = {**defaults, "nat_instance_name": host, "nat_instance_route_tables": [], "nat_instance_services": []}
        named = {**named, **PROD, **given}
        return load("filter.arguments").arguments(named, OPTIONS, prefix="nat_instance_")

    return call


@pytest.fixture
def cluster(filters, asked):
    """The result of the filter for nat-a."""

    def call(hostvars, host="nat-a", hosts=None, **given):
        own = {**hostvars.get(host, {}), **given}
        own.setdefault("nat_instance_name", host)
        return filters["nat_instance_cluster"](
            sorted(hostvars) if hosts is None else hosts,
            host=host,
            group="nat_nodes",
            asked=asked(**own),
            instance_id=own.get("nat_instance_instance_id", ""),
            hostvars=hostvars,
            options=OPTIONS,
        )

    return call


@pytest.fixture
def plan(filters, asked):
    def call(nodes=(), host=None, packages=(), network="", **given):
        return filters["nat_instance_plan"](
            asked(**given),
            hosts=[node["name"] for node in nodes],
            network=network,
            nodes=nodes,
            region="eu-west-1",
            interface="ens5",
            key_file=KEY_FILE,
            host=host or {"memory_kib": 425_000},
            packages=packages,
        )

    return call
