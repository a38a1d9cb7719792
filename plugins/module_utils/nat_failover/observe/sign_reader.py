# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the seals of flares, items and marks, once for each reading."""

from __future__ import annotations

import typing as t

from ..model.cluster import TAG_FENCE, TAG_FLARE, InstanceView
from ..model.evidence import Mark, Sign, WitnessView
from ..wire.seals import FLARE, ITEM, Seals


class Signs(t.NamedTuple):
    """One reading by the name of the node. Nodes without an instance are left out."""

    flares: t.Mapping[str, Sign]
    items: t.Mapping[str, Sign]
    marks: t.Mapping[str, Mark]  # of the nodes that are marked for a fence


class SignReader:
    """``seals`` may get other keys at any time (a reload does that)."""

    def __init__(self, seals: Seals) -> None:
        self.seals = seals
        self._instances: t.Mapping[str, InstanceView] | None = None
        self._witness: WitnessView | None = None
        self._signs = Signs({}, {}, {})

    def read(self, instances: t.Mapping[str, InstanceView], witness: WitnessView | None) -> Signs:
        """The signs of these readings. Readings are replaced, never changed in place."""
        if instances is not self._instances or witness is not self._witness:
            self._instances, self._witness = instances, witness
            known = {name: view for name, view in instances.items() if view.instance_id}
            flares = {
                name: self.seals.read(FLARE, name, view.instance_id, view.tags.get(TAG_FLARE, ""))
                for name, view in known.items()
            }
            shown = witness.items if witness is not None else {}
            items = {
                name: self.seals.read(ITEM, name, view.instance_id, shown.get(view.instance_id, ""))
                for name, view in known.items()
            }
            marks = {
                name: self.seals.read_mark(name, view.instance_id, view.tags[TAG_FENCE])
                for name, view in known.items()
                if TAG_FENCE in view.tags
            }
            self._signs = Signs(flares, items, marks)
        return self._signs
