# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error of the EC2 adapter."""

from __future__ import annotations

import pytest

from nat_failover.errors import Ec2Error


def failure(call, *arguments, **options):
    with pytest.raises(Ec2Error) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return caught.value
