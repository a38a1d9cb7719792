# SPDX-License-Identifier: GPL-3.0-or-later
"""Warnings out of counters of the kernel and of the network driver."""

from __future__ import annotations

import pytest

from nat_failover.host.nic_counters import DROPPED, SQUEEZED
from nat_failover.observe.capacity import WINDOW, Limits

PPS = "pps_allowance_exceeded"


def follow(*steps):
    """``Limits`` after steps of (seconds, counters, fill), and (begun, ended) of the last one."""
    followed = Limits()
    for now, counters, fill in steps:
        last = followed.update(counters, fill, now)
    return followed, last


def test_what_was_lost_before_the_service_started_is_no_warning():
    followed, (began, ended) = follow((0.0, {PPS: 1000}, 0.0), (10.0, {PPS: 1000}, 0.0))
    assert followed.warnings == () and began == ended == []


def test_a_counter_that_moves_is_a_warning_until_it_is_quiet_for_a_while():
    followed, (began, _ended) = follow((0.0, {PPS: 7}, 0.0), (10.0, {PPS: 12}, 0.0))
    assert began[0].startswith("pps_allowance_exceeded: 5 within 60 s; packets above the instance's packet rate")
    assert followed.update({PPS: 13}, 0.0, 20.0) == ([], []), "told once"
    assert followed.warnings[0].startswith("pps_allowance_exceeded: 6 within"), "but counted on"
    assert followed.update({PPS: 13}, 0.0, 21.0 + WINDOW) == ([], ["pps_allowance_exceeded: the shortage is over"])
    assert followed.warnings == ()


@pytest.mark.parametrize(("name", "moved", "told"), [(DROPPED, 1, True), (SQUEEZED, 599, False), (SQUEEZED, 600, True)])
def test_a_few_squeezes_are_normal_and_a_drop_is_not(name, moved, told):
    followed, _last = follow((0.0, {name: 0}, 0.0), (10.0, {name: moved}, 0.0))
    assert bool(followed.warnings) == told


def test_an_allowance_that_is_not_known_yet_is_told_and_what_is_available_is_not():
    counters = {"new_allowance_exceeded": 0, "conntrack_allowance_available": 0}
    _followed, (began, _ended) = follow((0.0, counters, 0.0), (10.0, dict.fromkeys(counters, 4), 0.0))
    assert len(began) == 1 and began[0].startswith("new_allowance_exceeded: 4 within 60 s; ")


def test_a_driver_that_is_loaded_again_counts_anew():
    followed, _last = follow((0.0, {PPS: 90}, 0.0), (10.0, {PPS: 3}, 0.0))
    assert followed.warnings == ()
    assert followed.update({PPS: 4}, 0.0, 20.0)[0][0].startswith("pps_allowance_exceeded: 1 ")


def test_a_connection_table_that_fills_is_a_warning_long_before_it_is_a_failing_fact():
    followed, (began, _ended) = follow((0.0, {}, 0.81))
    assert began[0].startswith("connection tracking table 81 % full; raise nat_instance_conntrack.max")
    assert followed.update({}, 0.76, 10.0) == ([], []) and followed.warnings, "not on and off around the limit"
    assert followed.update({}, 0.74, 20.0) == ([], ["conntrack: the shortage is over"])
