# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""conntrackd on this node: what it is told when an identity moves, and what it shows.

conntrackd sends to the peer what stands in its *internal cache*: the flows that the kernel of this
node made, not those that came from the peer. It also sends the end of each flow in there. So flows
of an identity that is not here must not stand in the cache: their end here would end them at the
peer, where they live on. And flows that came from the peer must stand in it once they are this
node's own (docs/design.md, "Synchronised connections").
"""

from __future__ import annotations

import os
import time
import typing as t

from ..errors import NatFailoverError
from ..model.nat import Identity
from ..model.settings import Config
from ..model.sync import AWAY, ENDED, HERE, PLACES, SyncReading
from . import address_map, conntrackd_conf
from .helper_words import assigned
from .rule_tables import Runner

CHECK, PUSH, ARRANGE = "check", "push", "arrange"  # the orders that the helper knows
ENOUGH = 0.9  # of the flows of the kernel must stand in the cache: short ones come and go meanwhile
TIMEOUT = 8.0  # seconds for one command
ABSENT = 1  # the exit code of conntrack that has found no flow to delete
FILLED_WITHIN, PAUSE = 2.0, 0.05  # seconds for the cache to be filled, and between two looks at it


def answer(words: t.Sequence[str], config: Config, runner: Runner) -> bool | str:
    """Carry out an order: ``check NAME...``, ``push``, or ``arrange NAME=PLACE...``.

    Returns whether anything was changed, ``check`` a line for ``SyncReading.of``. Raises
    ``NatFailoverError``.
    """
    order, *more = words
    path = os.path.join(os.path.dirname(config.key_file), conntrackd_conf.NAME)
    if not config.state_sync:
        raise NatFailoverError("state_sync is not configured, so there is no conntrackd to give an order to")
    if order == CHECK:
        reading = read(runner, path)
        return reading._replace(flows={name: count(config, name, runner) for name in more}).line()
    if order == PUSH and not more:
        return push(runner, path)
    if order == ARRANGE and more:
        return arrange(config, assigned(config.nat, more, PLACES, "at one of the places"), runner, path)
    raise NatFailoverError(f"{' '.join(words)[:80]!r} is no order; known: {CHECK}, {PUSH}, {ARRANGE}")


# --- orders ---------------------------------------------------------------------------------------


def push(runner: Runner, path: str) -> bool:
    """Send all flows of this node to the peer again.

    A flow that lives on makes no event, and its copy at the peer would end. Raises
    ``NatFailoverError``.
    """
    _tell(("-B",), runner, path)
    return True


def arrange(config: Config, places: t.Mapping[str, str], runner: Runner, path: str) -> bool:
    """Bring table and cache to what the places of identities ask for. Returns whether anything was
    changed.

    Some flows cannot go on here: those that a peer translated to an address of its own, and those
    of an identity whose Elastic IP does not follow or whose address this kernel does not rewrite.
    They are deleted, so that they begin anew or their clients learn it. Identities without a place
    stay as they are. Raises ``NatFailoverError``.
    """
    identities = {each.name: each for each in config.nat.identities}
    at = {place: [identities[name] for name, each in places.items() if each == place] for place in PLACES}
    gone = [address for each in at[AWAY] for address in dict.fromkeys((each.source, each.address))]
    mapped = not config.nat.synced or not address_map.differences(config.nat, runner)
    lost = [each for each in at[HERE] if each.synced and not mapped]
    ended = [*_of_peers(config), *(each.source for each in (*at[ENDED], *lost))]
    cache = _tell(("-i",), runner, path)
    stale = any(_cached(cache, address) for address in (*gone, *_of_peers(config)))
    lacking = any(
        _cached(cache, each.source) < ENOUGH * count(config, each.name, runner) for each in at[HERE] if each not in lost
    )
    if not stale and not lacking:
        deleted = [_delete(address, runner) for address in ended]
        return any(deleted)
    _tell(("-f", "internal"), runner, path)  # the end of a flow that is not in it is not sent
    for address in (*gone, *ended):
        _delete(address, runner)
    _fill(runner, path)
    if gone:
        _tell(("-n",), runner, path)  # the peer has them as they are now
    return True


def _cached(cache: str, address: str) -> int:
    """The flows that are translated to an address in the cache, as ``conntrackd -i`` writes it."""
    return cache.count(f" dst={address} ")


def _fill(runner: Runner, path: str) -> None:
    """Make the internal cache anew from the kernel, and wait until it is.

    Flows that come from the peer afterwards must not be in it.
    """
    _tell(("-f", "internal"), runner, path)
    _tell(("-R",), runner, path)
    end_at, before = time.monotonic() + FILLED_WITHIN, -1
    while time.monotonic() < end_at:
        now = parse(_tell(("-s",), runner, path)).cached
        if now == before:
            return
        before = now
        time.sleep(PAUSE)


# --- readings -------------------------------------------------------------------------------------


def read(runner: Runner, path: str) -> SyncReading:
    """conntrackd as it is now."""
    try:
        return parse(_tell(("-s",), runner, path))
    except NatFailoverError as error:
        return SyncReading(problem=str(error))


def parse(text: str) -> SyncReading:
    """The answer of ``conntrackd -s``, which has blocks of lines under a heading."""
    block, received, lost, refused, cached = "", 0, 0, 0, 0
    for line in text.splitlines():
        words = line.split()
        if line.endswith(":"):
            block = words[0]
        elif (block, words[1:2]) == ("UDP", ["Bytes"]):  # 0 Bytes sent 0 Bytes recv
            received = _number(words[3:4])
        elif (block, words[1:2]) == ("message", ["Malformed"]):  # 0 Malformed msgs 0 Lost msgs
            lost = _number(words[3:4])
        elif (block, words[:2]) == ("external", ["connections", "created:"]):  # connections created: 0 failed: 0
            refused = _number(words[4:5])
        elif (block, words[:1]) == ("cache", ["current"]):  # current active connections: 0
            cached = _number(words[3:4])
    return SyncReading("", received, lost, refused, cached)


def count(config: Config, name: str, runner: Runner) -> int:
    """The flows of an identity in the kernel of this node. Raises ``NatFailoverError``."""
    return len(_conntrack(("-L", "-q", _identity(config, name).source), runner).splitlines())


def _number(words: t.Sequence[str]) -> int:
    """The number that a list of one word holds, else 0."""
    return int(words[0]) if words and words[0].isdigit() else 0


def _identity(config: Config, name: str) -> Identity:
    for each in config.nat.identities:
        if each.name == name:
            return each
    raise NatFailoverError(f"{name[:80]!r} is no identity of this node")


def _of_peers(config: Config) -> list[str]:
    """The addresses that a peer translates to and that are of no use here."""
    own = [peer.address for peer in config.peers if peer.address and not peer.witness]
    return [*own, *(address for peer in config.peers for address in peer.waiting.values())]


def _delete(address: str, runner: Runner) -> bool:
    """Delete the flows that are translated to an address. Returns whether there were any."""
    return bool(_conntrack(("-D", "-q", address), runner))


def _conntrack(words: t.Sequence[str], runner: Runner) -> str:
    code, out, err = runner(["conntrack", *words], timeout=TIMEOUT)
    if code and not (code == ABSENT and "0 flow entries" in err):
        raise NatFailoverError(
            f"conntrack {' '.join(words)} failed ({code}): {' '.join((err or out).split())[:200]}; is the package with "
            "conntrack installed?"
        )
    return out


def _reason(text: str) -> str:
    """The reason in an answer of conntrackd, without the time and the number of the process before it."""
    return " ".join(text.rpartition("[ERROR]")[2].split())[:200]


def _tell(words: t.Sequence[str], runner: Runner, path: str) -> str:
    code, out, err = runner(["conntrackd", "-C", path, *words], timeout=TIMEOUT)
    if code:
        raise NatFailoverError(
            f"conntrackd {' '.join(words)} failed ({code}): {_reason(err or out)}; is "
            "nat-failover-sync.service running?"
        )
    return out
