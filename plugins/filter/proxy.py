# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the role ``proxy``: the fault in its variables, and the files that follow from
them.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..plugin_utils import proxy_plan as planner
from ..plugin_utils import proxy_settings, proxy_units


def proxy_refusal(given: t.Mapping[str, t.Any]) -> str:
    """The fault in the variables, in one sentence; empty without a fault."""
    try:
        proxy_settings.read(given)
    except ValueError as error:
        return str(error)
    return ""


def proxy_plan(given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The files of the role, as plain data."""
    try:
        return planner.plan(proxy_settings.read(given))
    except ValueError as error:
        raise AnsibleFilterError(f"aws_ha.egress.proxy_plan: {error}") from error


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {
            "proxy_refusal": proxy_refusal,
            "proxy_plan": proxy_plan,
            "proxy_units_differing": proxy_units.differing,
            "proxy_units_to_stop": proxy_units.to_stop,
        }
