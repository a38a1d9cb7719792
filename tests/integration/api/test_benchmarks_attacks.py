# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of attacks, and of parsers that are fed garbage."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import (
    attacks,
    forgery,
    garbage,
    sections,
)


def of_attack(attack: str, kind: str, run: int = 0, **found: Any) -> dict[str, Any]:
    """A measurement as the part attacks records it."""
    return {"attack": attack, "kind": kind, "count": 1, "run": run, "load": 0.5, **found}


ATTACKS = [
    of_attack("forged heartbeats", "all", forged=1000, accepted=0, microseconds=6.0),
    of_attack("forged heartbeats", "all", 1, forged=1000, accepted=2, microseconds=8.0),
    of_attack("mutated input", "EC2", fuzzed=500, refused=400, unexpected=3),
    of_attack(
        "flood", attacks.STRANGER, pps=20000, taken_percent=50.0, cpu_percent=20.0, idle_cpu_percent=1.0, verdicts=1,
        routes=0, fences=0, sent=160000,
    ),
]  # fmt: skip


def test_the_figures_of_attacks_are_sums_of_what_must_not_happen_and_medians_of_costs() -> None:
    figures, facts = attacks.figures(ATTACKS), attacks.facts(ATTACKS)
    assert figures["forged heartbeats, all: accepted"] == 2 and figures["forged heartbeats, all: microseconds"] == 7.0
    assert figures["mutated input, EC2: unexpected"] == 3
    assert (
        figures[f"flood, {attacks.STRANGER}: verdicts"] == 1
        and figures[f"flood, {attacks.STRANGER}: cpu_percent"] == 20
    )
    assert (facts["packets_forged"], facts["fuzzed, EC2"]) == (2000, 500)
    assert facts[f"flood pps, {attacks.STRANGER}"] == 20000
    assert "| forged heartbeats | all | 2,000 | 2 | 7.0 µs to refuse one |" in sections.forgeries(ATTACKS)
    assert "| 20,000 | 50.0 % | 20 % | 1.0 % | 1 | 0 | 0 |" in sections.floods(ATTACKS)
    assert sections.floods([]) == sections.forgeries([]) == sections.NOT_YET


@pytest.mark.parametrize("parser", sorted(garbage.PARSERS))
def test_each_parser_understands_the_valid_input_and_foresees_what_is_mutated(parser: str) -> None:
    found = garbage.attack(parser, 300, "a seed")
    assert found["fuzzed"] == 300 and found["unexpected"] == 0


def test_a_parser_that_raises_something_else_or_lets_a_control_character_through_is_found() -> None:
    def read(body: bytes) -> str:
        if body == b"bad":
            raise KeyError("nobody foresaw it")
        return body.decode()

    parser = garbage.Parser((b"good",), read, (ValueError,), lambda found: found == "good")
    assert [garbage._try(parser, body) for body in (b"good", b"bad", b"\x1b[31m", b"\xff")] == [
        "read",
        "unexpected",
        "unexpected",
        "refused",
    ]
    with pytest.raises(RuntimeError, match="a valid input is not understood"):
        garbage._check(parser, b"other")


def test_no_forged_heartbeat_is_accepted() -> None:
    found = forgery.attack(2000, 0)
    assert (found["forged"], found["accepted"]) == (2000, 0) and found["microseconds"] > 0
