# SPDX-License-Identifier: GPL-3.0-or-later
"""Places in the queue for a processor. Standard library only.

A host of a VPC has processors of its own. Here clients, far end, nodes and the stand-in of EC2 share a few. So what measures runs before all others,
then what acts (nodes, stand-in), then the rest. A process that starts inherits the place. Without the right to change it, all stays as it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

ORDINARY, ACTING, MEASURING = range(3)


def take(place: int) -> None:
    """This thread, and what it starts, has such a place from now on. Among equals turns are taken (sched(7), SCHED_RR)."""
    policy = os.SCHED_RR if place else os.SCHED_OTHER
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(place))


@contextlib.contextmanager
def at(place: int) -> Iterator[None]:
    """This thread has such a place in here, and so have processes that it starts. Afterwards it has the one of before."""
    before = os.sched_getparam(0).sched_priority
    take(place)
    try:
        yield
    finally:
        take(before)
