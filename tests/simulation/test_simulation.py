# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws hold in every incident, and the invariants that say so can fail."""

from __future__ import annotations

import pytest

from .broken import BROKEN
from .campaign import campaign, hunts
from .incidents import play, story

INCIDENTS = 2000
ENOUGH = 1500  # incidents within which each broken policy must be caught


@pytest.mark.timeout(600)
def test_no_incident_breaks_a_law():
    found = [each for _played, some in campaign(0, INCIDENTS) for each in some]
    assert not found, "seed %d breaks a law (%d in all):\n%s" % (found[0].seed, len(found), found[0].story)


def test_an_incident_replays_exactly():
    assert story(play(7)) == story(play(7))
    assert story(play(7)) != story(play(8))


@pytest.fixture(scope="module")
def caught():
    return hunts(sorted(BROKEN), ENOUGH)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_policy_is_caught(name, caught):
    number, violation = caught[name]
    assert number is not None, "%d incidents did not show that it %s" % (ENOUGH, BROKEN[name][0])
    assert violation.split(":")[0] in ("pause", "L1", "L2", "L3", "L4", "L6", "L7", "L8", "L9", "egress", "home")
