# SPDX-License-Identifier: GPL-3.0-or-later
"""The wrapper around module.run_command keeps the runner's contract: a time limit, and no exception whatever happens."""

from __future__ import annotations

import time

import pytest


@pytest.fixture
def run_command(load):
    from ansible.module_utils.basic import AnsibleModule
    from ansible.module_utils.testing import patch_module_args

    with patch_module_args({}):
        yield load("module_utils._module").runner(AnsibleModule(argument_spec={}))


def test_gives_code_and_output(run_command):
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10) == (3, "out\n", "err\n")


def test_hands_on_standard_input(run_command):
    assert run_command(["cat"], timeout=10, stdin="*nat\nCOMMIT\n") == (0, "*nat\nCOMMIT\n", "")


def test_without_standard_input_nothing_waits_for_it(run_command):
    assert run_command(["cat"], timeout=10)[0] == 0


def test_what_takes_too_long_is_ended(run_command):
    began = time.monotonic()
    code, _out, err = run_command(["sleep", "30"], timeout=0.2)
    assert (code, err) == (124, "no end within 0.2 s")
    assert time.monotonic() - began < 10


def test_a_command_that_is_not_there(run_command):
    code, out, err = run_command(["no-such-command-here"], timeout=10)
    assert (code, out) == (127, "")
    assert "no-such-command-here" in err


def test_finds_iptables_where_path_has_no_sbin(run_command, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "/usr/sbin" in run_command(["sh", "-c", "echo $PATH"], timeout=10)[1]
