# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a lab, and the words between its process and the command line. Light: no moto here."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass

BARE, MACHINE = "bare", "machine"
KEY, KNOWN_HOSTS = "ssh_key", "known_hosts"
STATE_FILE, LOG_FILE = "lab.json", "daemon.log"
REFUSED = 422  # the HTTP status of bad input
INTERRUPTS = {signal.SIGINT, signal.SIGTERM}
PROGRESS, READY, FAILED = "progress", "ready", "failed"


FAULTS = {
    "kill": "the host's kernel dies; EC2 still says running",
    "freeze": "everything on the host stands still until thaw",
    "thaw": "a frozen host goes on",
    "cut": "packets to and from a peer vanish (peer, direction)",
    "lose": "some packets vanish (percent, peer, direction)",
    "uplink": "the host loses the internet and the EC2 API",
    "flush": "the host's NAT rules are gone",
    "unforward": "the host's kernel no longer forwards",
    "notice": "EC2 tells the host of what is to come (what=spot|rebalance|scheduled|asg; what=none takes it back)",
    "group": "the host's security group tracks flows (mode=accepting|syn, see lab/fabric/groups.py; mode=open takes it back)",
    "api": "the EC2 API misbehaves (see lab/api/faults.py)",
}


@dataclass(frozen=True)
class Settings:
    """The parts of a lab."""

    name: str
    zones: tuple[str, ...] = ("a", "b")
    weight: str = "machine"
    enforce_iam: bool = True
    transition_s: float = 1.0
    ipv6: bool = False
    egress: bool = False  # an egress address for each zone, see lab/egress.py

    @classmethod
    def load(cls, text: str) -> Settings:
        """From JSON."""
        data = json.loads(text)
        return cls(**{**data, "zones": tuple(data["zones"])})

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))
