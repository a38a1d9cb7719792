# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CPUs that the kernel spreads the packets of an interface over (receive packet steering, RPS).

Source: the kernel's Documentation/networking/scaling.rst. A queue without a mask is worked off by
the CPU that takes its interrupts.
"""

from __future__ import annotations

import os
import typing as t

from ..errors import NatFailoverError
from ..model.cpu_list import ALL, NONE, cpus_of
from ..model.nat import Nat
from . import kernel

SYS = "/sys"


def differences(nat: Nat, sys: str = SYS) -> list[str]:
    """The masks that ``apply`` would change, in words. Raises ``NatFailoverError``."""
    if not nat.receive_cpus:
        return []
    wanted = _mask(nat, sys)
    return [
        f"missing: {queue} of {nat.interface} has the mask {shown}, not {_text(wanted)}"
        for queue, _path, shown in _queues(nat, sys)
        if _number(shown) != wanted
    ]


def apply(nat: Nat, sys: str = SYS) -> bool:
    """Give each receive queue of the interface its mask. Returns whether any had another one.

    Raises ``NatFailoverError``, for CPUs that this host lacks before any mask is changed.
    """
    if not nat.receive_cpus:
        return False
    wanted, changed = _mask(nat, sys), False
    for _queue, path, shown in _queues(nat, sys):
        if _number(shown) != wanted:
            try:
                with open(path, "w", encoding="ascii") as stream:
                    stream.write(_text(wanted))
            except OSError as error:
                raise _problem(nat, f"{path} cannot be written: {error.strerror}", "run this as root") from None
            changed = True
    return changed


def _mask(nat: Nat, sys: str) -> int:
    """The mask as a number: bit n for CPU n."""
    if nat.receive_cpus == NONE:
        return 0
    online = _online(sys)
    cpus = online if nat.receive_cpus == ALL else cpus_of(nat.receive_cpus)
    if not cpus <= online:
        lacking = ", ".join(map(str, sorted(cpus - online)))
        shown = ", ".join(map(str, sorted(online)))
        raise _problem(nat, f"this host has no CPU {lacking}", f"it has {shown}; name some of these, or write {ALL}")
    return sum(1 << cpu for cpu in cpus)


def _online(sys: str) -> frozenset[int]:
    return cpus_of(kernel.read_text(os.path.join(sys, "devices/system/cpu/online")) or "0")


def _queues(nat: Nat, sys: str) -> t.Iterator[tuple[str, str, str]]:
    """(name, path of its mask, mask) of each receive queue. Raises ``NatFailoverError``."""
    folder = os.path.join(sys, "class/net", nat.interface, "queues")
    names = sorted(name for name in (os.listdir(folder) if os.path.isdir(folder) else ()) if name.startswith("rx-"))
    found = [(name, os.path.join(folder, name, "rps_cpus")) for name in names]
    if not found or not all(os.path.exists(path) for _name, path in found):
        raise _problem(
            nat, f"the kernel cannot steer the packets of {nat.interface} (no rps_cpus in {folder})", "leave it out"
        )
    for name, path in found:
        yield name, path, kernel.read_text(path)


def _problem(nat: Nat, words: str, remedy: str) -> NatFailoverError:
    return NatFailoverError(f"acceleration.receive_cpus (got {nat.receive_cpus!r}): {words}; {remedy}")


def _number(text: str) -> int:
    try:
        return int(text.replace(",", "") or "0", 16)
    except ValueError:
        return -1  # not understood, so it is written


def _text(mask: int) -> str:
    """Groups of 32 bits, as bitmap_parse of the kernel takes them."""
    groups = []
    while True:
        groups.append(f"{mask & 0xFFFFFFFF:08x}")
        mask >>= 32
        if not mask:
            return ",".join(reversed(groups))
