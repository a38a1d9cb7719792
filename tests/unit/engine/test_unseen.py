# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose flare cannot be written cannot be seen: it takes claims from a silent peer ever more rarely."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat_failover.policy import verdict, warnings

from .policy_case import ME, NOW, PEER, Case, heard, routes

BOUNDED = settings(max_examples=200, derandomize=True, deadline=None, database=None)
REFUSED = "ec2:CreateTags on instance i-00000000: no (TagLimitExceeded)"


def unseen(seconds=100.0, **memory):
    """The peer is silent, and this node's flare is refused."""
    case = Case()
    case.me = replace(case.me, unseen=REFUSED)
    case.silent(seconds=seconds, **memory)
    return case


def at(case, now):
    """The same node at a later moment, without a freeze."""
    case.now, case.memory = now, replace(case.memory, last_tick=now - 0.05)


def test_a_dead_peer_is_replaced_although_this_node_cannot_be_seen():
    assert routes(unseen().decide()) == [("adopt", PEER)]


@pytest.mark.parametrize(("swaps", "wait"), [(1, 10), (2, 40), (3, 160), (4, 640), (5, 1800), (9, 1800)])
def test_each_claim_taken_by_a_silent_peer_makes_the_next_takeover_later(swaps, wait):
    assert verdict.swap_wait(swaps) == wait
    for ago, expected in ((wait - 1, []), (wait + 1, [("adopt", PEER)])):
        case = unseen(seconds=5000, verdict="failed", swaps=swaps, took_own_claim_at=NOW - ago)
        assert routes(case.decide()) == expected


def test_a_peer_that_ec2_shows_as_gone_is_not_waited_for():
    case = unseen(verdict="failed", swaps=5, took_own_claim_at=NOW - 15)
    case.instances[PEER] = replace(case.instances[PEER], state="stopped")
    assert routes(case.decide()) == [("adopt", PEER)]


def test_a_node_that_can_be_seen_waits_for_nothing():
    case = unseen(verdict="failed", swaps=5, took_own_claim_at=NOW - 15)
    case.me = replace(case.me, unseen="")
    assert routes(case.decide()) == [("adopt", PEER)]


def test_claims_that_a_silent_peer_takes_are_counted_once_for_a_takeover():
    case = unseen(verdict="failed")
    case.point(PEER, "eni-" + ME)
    case.decide()
    assert case.memory.held_claims == {case.claim(ME), case.claim(PEER)}
    case.point(PEER, "eni-" + PEER)  # it takes its own claim
    case.decide()
    assert (case.memory.peers[PEER].swaps, case.memory.peers[PEER].took_own_claim_at) == (1, NOW)
    at(case, NOW + 1)
    case.point(ME, "eni-" + PEER)  # and that of this node a moment later
    case.decide()
    assert case.memory.peers[PEER].swaps == 1
    at(case, NOW + 60)
    case.point(ME, "eni-" + ME)
    case.decide()
    case.point(ME, "eni-" + PEER)
    case.decide()
    assert case.memory.peers[PEER].swaps == 2


def test_a_claim_that_a_heard_peer_takes_is_no_swap():
    case = Case()
    case.me = replace(case.me, unseen=REFUSED)
    case.point(PEER, "eni-" + ME)
    case.decide()
    case.point(PEER, "eni-" + PEER)
    case.decide()
    assert case.memory.peers[PEER].swaps == 0


@pytest.mark.parametrize(("seen", "expected"), [(True, [("return", ME)]), (False, [])])
def test_an_unseen_node_takes_nothing_back_from_a_peer_that_does_not_hear_it(seen, expected):
    case = unseen(verdict="partitioned", flare_at=NOW - 1)
    case.me = replace(case.me, unseen="" if seen else REFUSED)
    case.point(ME, "eni-" + PEER)
    assert routes(case.decide()) == expected


def test_an_unseen_node_takes_its_claims_back_from_a_peer_that_hears_it():
    case = Case()
    case.me = replace(case.me, unseen=REFUSED)
    case.point(ME, "eni-" + PEER)
    case.heard[PEER] = heard()
    assert routes(case.decide()) == [("return", ME)]


@BOUNDED
@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=60))
def test_the_takeovers_of_an_hour_are_bounded(delays):
    """A peer takes the claims back some time after each takeover, and this node takes over as soon as it may."""
    now, takeovers, case = NOW, [], unseen(seconds=1.0)
    for delay in delays:
        case.point(PEER, "eni-" + PEER)
        at(case, now)
        case.decide()  # the taking is seen
        peer = case.memory.peers[PEER]
        wait = verdict.swap_wait(peer.swaps) if peer.swaps else 0.0
        now += wait + 0.01
        takeovers.append(now)
        case.point(PEER, "eni-" + ME)
        at(case, now)
        case.decide()
        now += delay
    assert all(sum(at <= other < at + 3600 for other in takeovers) <= 7 for at in takeovers)


# --- what the operator reads -------------------------------------------------------------------------------------------


def test_an_unseen_node_warns_with_the_cause():
    [line] = unseen().decide().warnings.values()
    assert "peers cannot see that this node lives" in line and REFUSED in line


@pytest.mark.parametrize(
    ("tags", "warns"),
    [
        ({f"k{n}": "" for n in range(49)}, False),
        ({f"k{n}": "" for n in range(50)}, True),
        ({**{f"k{n}": "" for n in range(49)}, "nat-failover:flare": "x"}, False),
        ({**{f"k{n}": "" for n in range(49)}, **{f"aws:{n}": "" for n in range(9)}}, False),
    ],
)
def test_a_full_instance_warns_before_a_flare_is_needed(tags, warns):
    case = Case()
    case.instances[ME] = replace(case.instances[ME], tags=tags)
    assert bool(warnings.standing(case.config, case.evidence())) is warns


@pytest.mark.parametrize(
    ("refused", "then"),
    [
        (("stop",), "a fence of nat-b will be a reboot instead"),
        (("stop", "reboot"), "nat-b will not be fenced"),
        (("force_stop",), "nat-b is left as it is"),
    ],
)
def test_a_refused_step_warns_with_what_comes_in_its_place(refused, then):
    case = Case()
    case.refused = {(step, case.instances[PEER].instance_id): "refused; end the protection" for step in refused}
    lines = list(case.decide().warnings.values())
    assert len(lines) == len(refused) and all(then in line and "end the protection" in line for line in lines)


def test_the_refusal_of_an_instance_that_was_replaced_is_no_warning():
    case = Case()
    case.refused = {("stop", "i-00000099"): "refused"}
    assert case.decide().warnings == {}
