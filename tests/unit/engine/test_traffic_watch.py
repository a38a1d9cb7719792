# SPDX-License-Identifier: GPL-3.0-or-later
"""When has clients' traffic stopped?"""

from __future__ import annotations

import pytest

from nat_failover.observe.traffic_watch import TrafficWatch


def follow(*counts):
    """The results for counts that are read every second."""
    watch = TrafficWatch()
    return [watch.update(count, float(second)) for second, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("counts", "stopped"),
    [
        ((0, 100, 200, 200), True),
        ((0, 100, 200, 220), True),  # a fifth of it
        ((0, 100, 200, 221), False),
        ((0, 49, 98, 98), False),  # that little is no traffic
        ((5000, 5000, 5000), False),
    ],
)
def test_traffic_stops_by_at_least_four_fifths(counts, stopped):
    assert follow(*counts)[-1] is stopped


def test_a_stop_is_reported_once():
    assert follow(0, 100, 100, 100) == [False, False, True, False]


def test_two_readings_at_about_the_same_time_measure_no_rate():
    watch = TrafficWatch()
    assert [watch.update(count, now) for count, now in ((0, 0.0), (100, 1.0), (100, 1.1), (200, 2.0))] == [False] * 4
