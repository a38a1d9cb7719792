# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter aws_ha.egress.iam_policy; documented in iam_policy.yml beside it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..plugin_utils.iam import node_policy


def iam_policy(nodes: t.Any, **options: t.Any) -> dict[str, t.Any]:
    """The policy as a dictionary; what is wrong with the input becomes Ansible's own error."""
    try:
        return node_policy(nodes, **options)
    except (ValueError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"aws_ha.egress.iam_policy: {error}") from error


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"iam_policy": iam_policy}
