# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the newest readings of the Elastic IPs of identities.

A failure is none of EC2's: routes need no such reading.
"""

from __future__ import annotations

import logging
import typing as t
from dataclasses import replace

from ..aws import codes
from ..aws.ec2 import THROTTLED, Ec2
from ..errors import Ec2Error
from ..model.cluster import AddressView
from ..model.settings import Config
from .pooled_calls import Call


class ElasticIps:
    """``views`` is replaced, never changed in place."""

    def __init__(self, config: Config, ec2: Ec2, *, emit: t.Callable[[str, str, int], None]) -> None:
        self.config = config
        self.views: t.Mapping[str, AddressView] = {}  # by their allocation ids
        self.problem = ""  # why these cannot be read, in words
        self.refused = ""  # the same, if it lasts until somebody changes something
        self._ec2 = ec2
        self._emit = emit

    def calls(self) -> list[Call]:
        """The call that reads them. None without an identity."""
        allocations = sorted(each.allocation for each in self.config.identities.values())
        return [(self._ec2.describe_addresses, allocations)] if allocations else []

    def note(self, found: t.Any, began: float) -> None:
        """Take in the result of the call, dated by ``began``.

        Raises an exception that is no error of EC2.
        """
        if isinstance(found, dict):
            self.problem = self.refused = ""
            self.merge({each: replace(view, read_at=began) for each, view in found.items()})
        elif isinstance(found, Ec2Error):
            if found.code not in THROTTLED and not self.problem:
                text = f"{found}; the Elastic IPs of identities stay where they are, and routes move as ever"
                self._emit("addresses", text, logging.WARNING)
            self.problem = str(found)
            if codes.lasting(found.code):
                self.views, self.refused = {}, str(found)
        else:
            raise found

    def merge(self, views: t.Mapping[str, AddressView]) -> None:
        """Take in readings. One that is older than the kept one is dropped."""
        kept = self.views
        newer = {each: view for each, view in views.items() if each not in kept or view.read_at >= kept[each].read_at}
        wanted = {each.allocation for each in self.config.identities.values()}
        self.views = {each: view for each, view in {**kept, **newer}.items() if each in wanted}
