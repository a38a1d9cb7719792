# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of the kernel that rewrites the waiting address: put there, compared, refused, removed."""

from __future__ import annotations

import pytest

from nat_failover.host import address_map, netfilter, nft_batch
from nat_failover.model.nat import CARRY
from tests.integration.sync.namespaces import NODE_B, NODES, apply
from tests.unit.engine.namespaces import entered, runner


def test_a_table_that_the_kernel_refuses_leaves_the_identity_at_level_1(spaces):
    def refuse(_messages):
        raise netfilter.NatFailoverError("nf_tables refused a table of this product: not supported")

    apply(NODE_B, CARRY)
    address_map.remove(runner(NODE_B))
    reading = netfilter.read_rules(NODES[NODE_B], runner(NODE_B))
    assert reading.unmapped and reading.missing
    with pytest.raises(netfilter.NatFailoverError, match="not synchronised: nf_tables refused"):
        netfilter.apply_rules(NODES[NODE_B], runner(NODE_B), None, refuse)
    reading = netfilter.read_rules(NODES[NODE_B], runner(NODE_B))
    assert reading.unmapped and not reading.missing and reading.states == {"nat-a": CARRY}
    assert apply(NODE_B)
    reading = netfilter.read_rules(NODES[NODE_B], runner(NODE_B))
    assert not reading.unmapped and not reading.missing and reading.states == {"nat-a": CARRY}
    assert not apply(NODE_B)


def test_the_table_is_no_rule_of_others_and_can_be_removed(spaces):
    apply(NODE_B)
    assert not netfilter.read_other_tables(NODES[NODE_B], runner(NODE_B))
    assert address_map.differences(NODES[NODE_B].unsynced(), runner(NODE_B))
    assert address_map.remove(runner(NODE_B))
    assert not address_map.remove(runner(NODE_B))
    assert not address_map.differences(NODES[NODE_B].unsynced(), runner(NODE_B))
    assert apply(NODE_B)


def test_a_batch_that_the_kernel_refuses_is_one_line_and_changes_nothing(spaces):
    apply(NODE_B)
    wrong = (*address_map.messages(NODES[NODE_B]), nft_batch.rule(address_map.TABLE, "no-such-chain", b"", "x"))
    with pytest.raises(netfilter.NatFailoverError, match="nf_tables refused .*No such file"):
        entered(NODE_B, lambda: nft_batch.transact(wrong))
    assert not address_map.differences(NODES[NODE_B], runner(NODE_B))
