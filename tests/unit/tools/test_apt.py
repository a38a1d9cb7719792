# SPDX-License-Identifier: GPL-3.0-or-later
"""A package with a server is installed with its unit masked, and nothing of the machine's owner is replaced by the mask."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from devtool import apt, console


def test_a_unit_is_masked_once(tmp_path):
    units = tmp_path / "system"
    assert apt.mask("prometheus.service", units)
    assert os.readlink(units / "prometheus.service") == "/dev/null"
    assert not apt.mask("prometheus.service", units)


def test_a_unit_that_somebody_wrote_is_not_replaced(tmp_path):
    (tmp_path / "prometheus.service").write_text("[Service]\n", encoding="utf-8")
    with pytest.raises(console.Refusal, match="move it away"):
        apt.mask("prometheus.service", tmp_path)
    assert (tmp_path / "prometheus.service").read_text(encoding="utf-8") == "[Service]\n"


def test_the_mask_comes_before_the_installation(monkeypatch):
    done = []
    monkeypatch.setattr(apt, "missing", list)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(apt, "mask", lambda unit: done.append(f"mask {unit}"))
    monkeypatch.setattr(apt, "ensure_held_back", lambda names: done.append(f"install {' '.join(names)}"))
    apt.ensure_masked(["prometheus"], "prometheus.service")
    assert done == ["mask prometheus.service", "install prometheus"]


def test_two_stages_that_need_the_same_package_wait_for_each_other(monkeypatch, tmp_path):
    """The second one finds it installed. Both once masked its unit in the same moment, and one of them fell over the other's link."""
    units, installed, runs = tmp_path / "system", set(), []
    mask = apt.mask
    monkeypatch.setattr(apt, "missing", lambda names: [name for name in names if name not in installed])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(apt, "mask", lambda unit: (time.sleep(0.05), mask(unit, units)))

    monkeypatch.setattr(apt, "held_back", nullcontext)

    def install(names):
        wanted = apt.missing(names)
        if wanted:
            time.sleep(0.05)
            runs.append(wanted)
            installed.update(wanted)

    monkeypatch.setattr(apt, "_ensure", install)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _n: apt.ensure_masked(["conntrackd"], "conntrackd.service"), range(4)))
    assert runs == [["conntrackd"]]
