# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the playbook ``provision`` for identities of its nodes."""

from __future__ import annotations

import typing as t

from ..plugin_utils import provision_egress


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {
            "provision_egress_refusal": provision_egress.refusal,
            "provision_egress_addresses": provision_egress.addresses,
            "provision_egress_inventory": provision_egress.inventory,
        }
