# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which AWS partition a region belongs to.

Pure; a test compares it with every region that botocore knows.
"""

from __future__ import annotations

import re

# Source: partitions.json of botocore. A region of no other partition belongs to the first one.
DEFAULT = "aws"
PREFIXES = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
    ("eusc-", "aws-eusc"),
)
REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+\Z")


def partition_of(region: object) -> str:
    """The partition of a region, such as ``aws-cn``; ``ValueError`` if the text is no region."""
    if not isinstance(region, str) or not REGION.match(region):
        raise ValueError(f"region: {region!r} must be a region such as eu-west-1")
    return next((partition for prefix, partition in PREFIXES if region.startswith(prefix)), DEFAULT)
