# SPDX-License-Identifier: GPL-3.0-or-later
"""A package with a server is installed with its unit masked, and nothing of the machine's owner is replaced by the mask."""

from __future__ import annotations

import os

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
