# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state that this node announces, and the three who may ask for a drain: the operator, EC2, and the end of this machine or service.

Only the operator's drain is a tag, since only that must outlive a reboot. A notice is read again from EC2 after a restart, so its drain ends with it;
that of a shutdown ends with the shutdown.
"""

from __future__ import annotations

import asyncio
import logging
import time
import typing as t

from ..errors import NatFailoverError
from ..model.cluster import ACTIVE, DRAINED, HEALTHY, STOPPING, TAG_DRAINED, WITNESS
from ..policy import interruption as handover
from ..policy import pause
from . import status

if t.TYPE_CHECKING:
    from .service import Service

LOOK_EVERY = 0.1  # seconds between readings of EC2 while somebody waits for a drain


class Drain:
    """What a ``Service`` announces of itself, and why."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self.state = WITNESS if service.config.me.witness else ACTIVE
        self.operator = ""  # why the operator drained this node, in words; empty: he did not
        self.ending = ""  # what of this node is about to end
        self.notices: t.Tuple[handover.Notice, ...] = ()  # those of EC2 for which it drains now
        self._overruled: t.FrozenSet[str] = frozenset()
        self._tagged_at = float("-inf")  # my own change of the tag counts until it is read back

    @property
    def notice(self) -> str:
        """What EC2 has announced, when nothing but that makes this node drain. Then it still is an heir of last resort."""
        return "" if self.operator or self.ending else "; ".join(notice.text for notice in self.notices)

    @property
    def why(self) -> str:
        """Why this node drains, in words; empty when it does not."""
        return self.operator or self.ending or self.notice

    def follow(self) -> None:
        """Derive the state anew from tag, notices and routes."""
        if self.state != WITNESS:
            self._follow_tag()
            self._follow_notices()
            self._become()

    def leave_now(self) -> None:
        """The service ends at once."""
        self.state = STOPPING

    def _follow_tag(self) -> None:
        """The drained tag on my own instance is the truth, also after a restart."""
        view = self._service.gatherer.instances.get(self._service.config.self_name)
        if view is None or view.read_at <= self._tagged_at or self._service.hands.tagging:
            return
        if TAG_DRAINED not in view.tags:
            self.operator = ""
        elif not self.operator:
            self.operator = "the tag %s is on this instance" % TAG_DRAINED

    def _follow_notices(self) -> None:
        standing = self._service.gatherer.notices
        if not standing and not self.notices and not self._overruled:
            return  # as nearly always
        self._overruled &= {notice.text for notice in standing}
        valid = [notice for notice in standing if notice.text not in self._overruled]
        self.notices = handover.pressing(self._service.config.handover, valid, time.time())

    def _become(self) -> None:
        state = handover.state(self.why, self._owned() if self.why else None)
        if state == self.state:
            return
        before, self.state = self.state, state
        words = {
            ACTIVE: ("resumed", "nothing asks for a drain any more"),
            DRAINED: ("drained", "no route points to this node any more"),
        }
        if state == DRAINED and before == ACTIVE:
            self._service.record("draining", self.why)
        self._service.record(*words.get(state, ("draining", self.why)))

    def _owned(self) -> t.Optional[int]:
        gatherer = self._service.gatherer
        known = gatherer.routes and self._service.config.self_name in gatherer.instances
        return len(status.owned(self._service)) if known else None

    def _tell(self) -> None:
        """What is new must not wait for the next tick and beat."""
        self._become()
        self._service.radio.set_report(status.report(self._service))
        self._service.wake()

    # --- who asks for it -----------------------------------------------------------------------------------------------------------

    async def drain(self, reason: str, wait: float) -> t.Dict[str, t.Any]:
        """The operator's: outlives reboots. Returns when no route points here, or says after ``wait`` seconds which ones still do."""
        if self.state == WITNESS:
            raise NatFailoverError("this node is a witness: it owns nothing that could be handed over")
        changed = not self.operator
        if changed and status.owned(self._service) and not self._heirs():
            raise NatFailoverError("nobody could take over now: %s; mend or resume a peer first" % self._why_nobody())
        if changed:
            self.operator, self._tagged_at = reason, self._service.clock()
            self._tell()
            await self._service.hands.tag_self(TAG_DRAINED, reason)
            self._tagged_at = self._service.clock()
        if not await self._handed_over(wait):
            raise NatFailoverError(
                "%s; look at `nat-failover status` on the peers, or `nat-failover resume` here" % self._left(wait)
            )
        return {"changed": changed, "state": self.state}

    async def resume(self) -> t.Dict[str, t.Any]:
        """Be eligible again, also against a notice of EC2; the claims come home once forwarding has been proven for ``return.after_s``."""
        if self.ending:
            raise NatFailoverError("%s; it is eligible again after its next start" % self.ending)
        changed = self.state not in (ACTIVE, WITNESS)
        if changed:
            await self._service.hands.tag_self(TAG_DRAINED, None)
            self._overruled |= {notice.text for notice in self.notices}
            self.operator, self._tagged_at = "", self._service.clock()
            self._follow_notices()
            self._tell()
        return {"changed": changed, "state": self.state}

    async def leave(self, why: str) -> t.Dict[str, t.Any]:
        """This machine, or the service, is about to end, whatever is said here: hand over within ``handover.wait_s``, or say what is left."""
        wait = self._service.config.handover.wait
        if self.state == WITNESS:
            return {"changed": False, "state": self.state}
        changed, self.ending = not self.ending, why
        self._tell()
        if status.owned(self._service) and not self._heirs():
            raise self._abandoned("nobody takes over: %s" % self._why_nobody())
        if not await self._handed_over(wait):
            raise self._abandoned(self._left(wait))
        return {"changed": changed, "state": self.state}

    def _abandoned(self, problem: str) -> NatFailoverError:
        self._service.record("abandoned", "%s, and %s" % (self.ending, problem), logging.ERROR)
        return NatFailoverError(problem)

    # --- how far it is ---------------------------------------------------------------------------------------------------------------

    async def _handed_over(self, wait: float) -> bool:
        began = self._service.clock()
        self._service.gatherer.look_for_tables()
        while not self._empty(began) and self._service.clock() < began + wait:
            self._service.gatherer.read_soon()
            await asyncio.sleep(LOOK_EVERY)
        return self._empty(began)

    def _empty(self, since: float) -> bool:
        """Does no route point here, by a reading that is younger than the wish to know? If EC2 does not answer, by the last one."""
        gatherer = self._service.gatherer
        known = all(view.read_at >= since for view in gatherer.routes.values())
        found = gatherer.tables_at is not None and gatherer.tables_at >= since  # a new table may point here, too
        return self.state == DRAINED and (known and found or not gatherer.me.ec2)

    def _heirs(self) -> t.List[str]:
        """The peers that could take claims over now."""
        if self._paused():
            return []
        rows = status.status(self._service)["verdicts"]
        return [row["peer"] for row in rows if (row["verdict"], row["state"]) == (HEALTHY, ACTIVE)]

    def _paused(self) -> str:
        return pause.paused(self._service.gatherer.instances, time.time())

    def _left(self, waited: float) -> str:
        left = ", ".join(str(claim) for claim in status.owned(self._service))
        return "still the owner of %s after %d s: %s" % (left, waited, self._why_nobody())

    def _why_nobody(self) -> str:
        rows = status.status(self._service)["verdicts"]
        peers = ["%s is %s, %s" % (row["peer"], row["verdict"], row["state"]) for row in rows]
        return "; ".join([*peers, self._paused()]).rstrip("; ")
