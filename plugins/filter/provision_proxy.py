# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the playbook ``provision`` for an HTTP proxy on its nodes."""

from __future__ import annotations

import typing as t

from ..plugin_utils import provision_proxy


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {
            "provision_proxy_refusal": provision_proxy.refusal,
            "provision_proxy_inventory": provision_proxy.inventory,
            "provision_proxy_input": provision_proxy.input_allow,
        }
