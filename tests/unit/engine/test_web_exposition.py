# SPDX-License-Identifier: GPL-3.0-or-later
"""The text format of Prometheus, whatever stands in a label."""

from __future__ import annotations

import math

import pytest

from nat_failover.web.exposition import COUNTER, GAUGE, Family, render


def one(value=1.0, kind=GAUGE, text="A help.", **labels):
    family = Family("nat_x", kind, text)
    family.add(value, **labels)
    return render([family], {})


def test_a_family_is_help_type_and_samples():
    family = Family("nat_x_total", COUNTER, "Packets.")
    family.add(3, reason="late")
    family.add(0, reason="bad_mac")
    assert render([family], {"node": "nat-a"}) == (
        "# HELP nat_x_total Packets.\n"
        "# TYPE nat_x_total counter\n"
        'nat_x_total{node="nat-a",reason="late"} 3\n'
        'nat_x_total{node="nat-a",reason="bad_mac"} 0\n'
    )


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ('a"b', 'a\\"b'),
        ("a\\b", "a\\\\b"),
        ("a\nb", "a\\nb"),
        ('\\"\n', '\\\\\\"\\n'),
        ('"} 1\nnat_forged{x="', '\\"} 1\\nnat_forged{x=\\"'),
        ("zone ä", "zone ä"),
    ],
)
def test_a_label_cannot_leave_its_quotes(text, escaped):
    rendered = one(node=text)
    assert rendered.splitlines()[-1] == f'nat_x{{node="{escaped}"}} 1'
    assert len(rendered.splitlines()) == 3


def test_a_help_stays_on_one_line():
    assert one(text="a\nb\\c").splitlines()[0] == "# HELP nat_x a\\nb\\\\c"


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "1"), (False, "0"), (0.5, "0.5"), (1e20, "1e+20"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (-2, "-2")],
)
def test_values(value, text):
    assert one(value).splitlines()[-1] == f"nat_x {text}"


def test_not_a_number_is_written_as_the_format_spells_it():
    assert one(math.nan).splitlines()[-1] == "nat_x NaN"


def test_an_unknown_value_has_no_sample_and_no_family():
    assert one(None) == ""
