# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to this collection: credentials of AWS as modules are given them."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.aws_ha.egress.plugins.module_utils import _module

CREDENTIALS = {
    "profile": "AWS_PROFILE",
    "access_key": "AWS_ACCESS_KEY_ID",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "aws_ca_bundle": "AWS_CA_BUNDLE",
}

# The options of a module that calls AWS, and the rules among them. Both go to AnsibleModule.
ARGUMENTS = {
    "endpoint_url": {"type": "str"},
    "profile": {"type": "str"},
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "session_token": {"type": "str", "no_log": True},
    "aws_ca_bundle": {"type": "path"},
}
RULES = {
    "required_together": [("access_key", "secret_key")],
    "mutually_exclusive": [("profile", "access_key")],
}


def use_credentials(given: t.Mapping[str, t.Any], environment: t.MutableMapping[str, str]) -> None:
    """Hand them to boto3 the way a shell does; what is given wins over what the environment has."""
    if given["profile"]:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            environment.pop(name, None)
    for option, name in CREDENTIALS.items():
        if given[option]:
            environment[name] = given[option]
    if given["access_key"] and not given["session_token"]:
        environment.pop("AWS_SESSION_TOKEN", None)


def answer(module: t.Any, work: t.Callable[[], dict[str, t.Any]]) -> None:
    """``_module.answer``, where ``work`` calls AWS with the credentials that the module was given."""

    def authorised() -> dict[str, t.Any]:
        use_credentials(module.params, os.environ)
        return work()

    _module.answer(module, authorised)
