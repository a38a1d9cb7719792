# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text format of Prometheus, version 0.0.4.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GAUGE, COUNTER = "gauge", "counter"

Labels = t.Mapping[str, str]


@dataclass
class Family:
    """One metric with its samples. Names of metrics and labels come from this package only."""

    name: str
    kind: str  # GAUGE or COUNTER
    help: str
    samples: list[tuple[Labels, float]] = field(default_factory=list)

    def add(self, value: float | bool | None, **labels: str) -> None:
        """Add a sample. None: the value is unknown, and there is no sample."""
        if value is not None:
            self.samples.append((labels, float(value)))


def render(families: t.Iterable[Family], common: Labels) -> str:
    """The text of all families. ``common``: labels of every sample.

    Families without samples are left out.
    """
    lines = []
    for family in families:
        if family.samples:
            lines.append(f"# HELP {family.name} {_escaped(family.help)}")
            lines.append(f"# TYPE {family.name} {family.kind}")
            lines += [_sample(family.name, {**common, **labels}, value) for labels, value in family.samples]
    return "".join(f"{line}\n" for line in lines)


def _sample(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join('{}="{}"'.format(key, _escaped(text).replace('"', '\\"')) for key, text in labels.items())
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
