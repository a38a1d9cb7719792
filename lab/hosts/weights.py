# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a NAT node, by weight."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .. import image
from ..errors import LabError
from ..fabric.names import Names
from ..settings import BARE, KEY, MACHINE
from .host import Host
from .machine import Machine, make_key


def node_maker(weight: str, names: Names, progress: Callable[[str], None]) -> Callable[..., Host]:
    """The class of NAT nodes, ready to be called. For machines, this makes their image and the lab's ssh key if they are not there."""
    if weight not in (BARE, MACHINE):
        raise LabError(f"a weight is {BARE} or {MACHINE}, not {weight!r}")
    if weight == BARE:
        return Host
    root = image.ensure(progress)
    key = make_key(names.state / KEY, f"natlab-{names.name}")
    return partial(Machine, image=root, key=key)
