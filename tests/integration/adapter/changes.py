# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of what EC2 shows, and the wait until it shows them."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Wait for a transition of the API."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within} s"
        time.sleep(0.01)


def name_it(world, zone, **tags):
    named = [{"Key": f"nat-failover:{key}", "Value": value} for key, value in tags.items()]
    world.api.client().create_tags(Resources=[zone], Tags=named)
