# SPDX-License-Identifier: GPL-3.0-or-later
"""Each program that is started is declared in tools/programs.toml, so that a bare machine gets it; and nothing else is."""

from __future__ import annotations

import ast

import pytest

from devtool import apt, paths

from . import started

# The engine's too: tests run it on hosts that are network namespaces, with the programs of this machine.
SOURCES = sorted(
    file
    for folder in ("lab", "tests", "tools", "benchmarks", "plugins")
    for file in (paths.ROOT / folder).rglob("*.py")
)
DECLARED = {program.split()[0] for group in apt.PROGRAMS.values() for program in group}
# Commands of .venv, which requirements.txt brings; and those that a test wants to be missing.
OF_VENV = {"ansible-doc", "ansible-galaxy", "ansible-inventory", "ansible-playbook"}
MISSING = {"no-such-command", "no-such-command-here"}


@pytest.fixture(scope="module")
def found():
    """The programs that all sources start."""
    return started.programs(SOURCES)


def test_each_program_that_is_started_is_declared_and_installed_from_there(found):
    assert len(found) > 30
    assert {name: places for name, places in found.items() if name not in DECLARED | OF_VENV | MISSING} == {}


def test_nothing_is_declared_that_nothing_starts(found):
    assert DECLARED - set(found) == set()


@pytest.mark.parametrize(
    ("source", "programs"),
    [
        ("subprocess.run(['curl', '-s'])", ["curl"]),
        ("lab.exec('nat-a', ['sysctl', '-w', key], check=False)", ["sysctl"]),
        ("argv = ['tc', 'qdisc'] + more", ["tc"]),
        ("host.popen([*words, '-x'])\nwords = ['keepalived', '-n']", ["keepalived"]),
        ("run(['ip', 'netns', 'exec', name, 'socat', '-'])", ["ip", "socat"]),
        ("run(['sh', '-c', script])\nscript = f'jq . {x} | nl; for a in b; do nc $a; done'", ["jq", "nc", "nl", "sh"]),
        ("name = 'a1' if x else 'b1'\nrun([name, 'y'])", ["a1", "b1"]),
        ("def command(self):\n    return ['nsenter', *argv]", ["nsenter"]),
        ("if shutil.which('pypy3'): pass", ["pypy3"]),
        ("ENGINES = {'squid': ['/usr/sbin/squid', '-N']}", ["squid"]),
        ("zones = ['a', 'b']; total.call('x', zone=['c'])", []),
    ],
)
def test_a_started_program_is_found_however_it_is_written(tmp_path, source, programs):
    file = tmp_path / "source.py"
    file.write_text(source, encoding="utf-8")
    assert ast.parse(source)
    assert sorted(started.programs([file])) == programs


def test_packages_are_those_of_the_programs_each_once():
    assert {"curl", "procps", "iproute2"} <= set(apt.packages("lab"))
    assert len(apt.LAB) == len(set(apt.LAB))
    assert set(apt.packages("machine")) <= set(apt.LAB)
    assert not set(apt.packages("beside")) & set(apt.LAB), "a demo needs no second firewall"
