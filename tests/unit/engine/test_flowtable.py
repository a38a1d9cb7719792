# SPDX-License-Identifier: GPL-3.0-or-later
"""The fast path of nftables, on a pretended nft: no kernel of the lab has one. That kernels without it refuse is seen in the lab."""

from __future__ import annotations

import json
import re

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import flowtable
from nat_failover.model.nat import Nat

NAT = Nat(("10.0.0.0/16", "172.16.0.0/12", "2001:db8::/56"), "ens5", flowtable=True)
OFF = Nat(("10.0.0.0/16",), "ens5")


class Nft:
    """Keeps the comments of the rules of the one table."""

    def __init__(self, refusal=""):
        self.comments = None
        self.refusal = refusal
        self.texts = []

    def __call__(self, argv, *, timeout, stdin=""):
        if argv == flowtable.LIST:
            if self.comments is None:
                return 1, "", "Error: No such file or directory"
            items = [{"metainfo": {}}, {"table": {"name": "nat_failover"}}]
            return 0, json.dumps({"nftables": [*items, *({"rule": {"comment": each}} for each in self.comments)]}), ""
        if argv[:2] == ["nft", "delete"]:
            self.comments = None
            return 0, "", ""
        assert argv == ["nft", "-f", "-"]
        if self.refusal:
            return 1, "", self.refusal
        self.texts.append(stdin)
        self.comments = re.findall('comment "([0-9a-f]+)"', stdin)
        return 0, "", ""


def test_it_is_put_in_place_once_and_removed_without_a_trace():
    nft = Nft()
    assert "not there" in flowtable.differences(NAT, nft)[0]
    assert flowtable.apply(NAT, nft) is True
    assert flowtable.differences(NAT, nft) == [] and flowtable.apply(NAT, nft) is False
    assert "not configured any more" in flowtable.differences(OFF, nft)[0]
    assert flowtable.apply(OFF, nft) is True
    assert nft.comments is None and flowtable.differences(OFF, nft) == []
    assert flowtable.remove(nft) is False


def test_only_established_flows_of_clients_by_the_nodes_interface_enter():
    [four, six] = [line for line in flowtable.script(NAT).splitlines() if "flow add" in line]
    way = 'iifname "ens5" oifname "ens5" meta l4proto { tcp, udp } ct state established'
    assert four.startswith(f"{way} ip saddr {{ 10.0.0.0/16, 172.16.0.0/12 }} flow add @fast")
    assert six.startswith(f"{way} ip6 saddr {{ 2001:db8::/56 }} flow add @fast")


@pytest.mark.parametrize(
    "spoil", [lambda nft: nft.comments.pop(), lambda nft: nft.comments.reverse(), lambda nft: None]
)
def test_a_table_that_was_changed_is_replaced_as_a_whole(spoil):
    nft = Nft()
    flowtable.apply(NAT, nft)
    nft.comments[0] = "of another configuration"
    spoil(nft)
    assert flowtable.apply(NAT, nft) is True
    assert nft.texts[-1].startswith(
        "table inet nat_failover\ndelete table inet nat_failover\ntable inet nat_failover {"
    )
    assert flowtable.differences(NAT, nft) == []


def test_a_kernel_without_it_is_one_error_with_key_value_and_remedy():
    nft = Nft("/dev/stdin:2:1-2: Error: Could not process rule: Operation not supported")
    with pytest.raises(NatFailoverError, match=r"acceleration.flowtable \(got true\): .*not supported.*leave it out"):
        flowtable.apply(NAT, nft)
    assert nft.comments is None
