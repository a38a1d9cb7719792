# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws hold in every incident, and the invariants that say so can fail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from dataclasses import fields
from pathlib import Path

import pytest

from nat_failover.model.evidence import Heard
from nat_failover.model.memory import Memory, PeerMemory, ServiceMemory

from .__main__ import CAUGHT
from .alarms import times
from .broken import BROKEN
from .hunt import hunt
from .incidents import WITNESSED, play, story
from .shells import REAL

ROOT = Path(__file__).parents[2]
# Of the fast shell. The shipping one plays 2,000 of its own at each run.
INCIDENTS, NIGHTLY = 160, 5840
OF_WITNESSES = 80  # with a witness table or a node that only watches
ENOUGH = 2500  # incidents within which each broken policy must be caught
TOLD = (7, 19, 42, 1410)  # seeds whose stories are compared


def simulate(*arguments: object, python: str = sys.executable, **environ: str) -> tuple[dict[str, t.Any], str]:
    """The output of the command: its line of JSON, and its other lines."""
    argv = [python, "-m", "tests.simulation", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins" / "module_utils"), **environ}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("first", "incidents"), [(0, INCIDENTS), pytest.param(INCIDENTS, NIGHTLY, marks=pytest.mark.nightly)]
)
def test_no_incident_breaks_a_law(first, incidents):
    result, words = simulate("--shell", "fast", "--incidents", incidents, "--first", first)
    assert result["incidents"] == incidents and result["violations"] == 0, words


@pytest.mark.timeout(600)
def test_no_incident_with_witnesses_breaks_a_law():
    result, words = simulate("--shell", "fast", "--incidents", OF_WITNESSES, "--first", WITNESSED)
    assert result["incidents"] == OF_WITNESSES and result["violations"] == 0, words


def test_an_incident_replays_exactly():
    assert story(play(7)) == story(play(7))
    assert story(play(7)) != story(play(8))


@pytest.mark.parametrize(
    ("python", "hash_seed"), [(sys.executable, "1"), (sys.executable, "2"), (shutil.which("pypy3"), "3")]
)
def test_every_python_tells_the_same_story(python, hash_seed):
    """Neither the order of sets nor the interpreter must matter: a seed found by PyPy is replayed by CPython."""
    if python is None:
        pytest.skip("pypy3 is not here")
    for seed in TOLD:
        _result, words = simulate("--shell", "fast", "--replay", seed, python=python, PYTHONHASHSEED=hash_seed)
        assert words.rstrip() == story(play(seed))


def test_no_clock_of_the_policy_is_forgotten():
    """A decision is skipped only as long as nothing that the policy remembers becomes some span old."""
    peer = PeerMemory(**{name: float(number) for number, name in enumerate(_moments(PeerMemory), 100)})
    moments = {name: float(n) for n, name in enumerate(_moments(Memory), 200)}
    memory = Memory(peers={"nat-1": peer}, services={"proxy": ServiceMemory(3.0)}, **moments)
    known = times(memory, {"nat-1": Heard(1.0, 2.0)})
    assert {1.0, 2.0, 3.0} <= set(known)
    for each, name in [(peer, name) for name in _moments(PeerMemory)] + [(memory, name) for name in _moments(Memory)]:
        assert getattr(each, name) in known or name == "last_tick", name


def _moments(kind):
    return [field.name for field in fields(kind) if field.type in ("float", "float | None")]


@pytest.fixture(scope="module")
def caught():
    """The incident that caught each broken policy, in the fast shell. Those of ``caught.json`` are played first."""
    played, words = simulate("--shell", "fast", "--broken", "--known", "--incidents", ENOUGH)
    return played["broken"], words


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_policy_is_caught(name, caught):
    numbers, words = caught
    assert numbers[name] is not None, f"{ENOUGH} incidents did not show that it {BROKEN[name][0]}\n{words}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_the_shipping_shell_catches_it_in_the_recorded_incident(name):
    known = json.loads(CAUGHT.read_text(encoding="utf-8"))[REAL][name]
    number, violation = hunt(name, 0, shell=REAL, known=known)
    assert number == known and violation, f"incident {known} does not show that it {BROKEN[name][0]}: --broken --record"
