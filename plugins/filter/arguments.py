# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters aws_ha.egress.arguments and aws_ha.egress.argument_problem; documented in the files
of their names.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ..plugin_utils import arguments as typing_of


def arguments(given: t.Mapping[str, t.Any], options: typing_of.Options, prefix: str = "") -> dict[str, t.Any]:
    """The typed values, by their names without the prefix.

    Secrets are left out: what is a fact may be shown.
    """
    try:
        typed = typing_of.arguments(given, options)
    except typing_of.ArgumentError as error:
        raise AnsibleFilterError(f"{error}") from error
    return {
        name[len(prefix) :] if name.startswith(prefix) else name: value
        for name, value in typed.items()
        if not options[name].get("no_log")
    }


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"arguments": arguments, "argument_problem": typing_of.problem}
