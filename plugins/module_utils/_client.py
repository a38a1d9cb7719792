# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE to this collection: clients of AWS for the modules that run on the operator's machine."""

from __future__ import annotations

import typing as t

from ansible_collections.aws_ha.egress.plugins.module_utils.nat_failover.errors import NatFailoverError


def client(service: str, title: str, region: str, endpoint_url: str | None) -> t.Any:
    """A client of boto3. ``title``: the service in words. Raises ``NatFailoverError``."""
    try:
        import boto3
    except ImportError:
        raise NatFailoverError("boto3 is missing on this host; install the package python3-boto3") from None
    try:
        return boto3.session.Session(region_name=region).client(service, endpoint_url=endpoint_url)
    except Exception as error:
        raise NatFailoverError(f"no client for {title} in {region}: {error}") from error
