# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the playbook drill; each is documented in the file of its name beside this one."""

from __future__ import annotations

import typing as t

from ..plugin_utils import drill, drill_page


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {
            "drill_busy": drill.busy,
            "drill_page": drill_page.page,
            "drill_problem": drill.problem,
            "drill_report": drill.report,
        }
