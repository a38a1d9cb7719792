# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of conntrackd that the role writes, as text (conntrackd.conf(5)). Pure.

FTFW repairs what is lost on the way. Without the external cache the flows of the peer are in the
kernel at once, so a takeover commits nothing. A flow that conntrackd puts there is liberal, since
its window is not synchronised. The sizes held 60,000 connections and 2,000 new ones a second.
"""

from __future__ import annotations

import typing as t

from ..model.settings import SYNC_PORT

NAME = "conntrackd.conf"  # in the folder of the heartbeat key
DIRECTORY = "/run/nat-failover-sync"

TEMPLATE = """\
# Written by the role nat_instance.
Sync {{
    Mode FTFW {{
        DisableExternalCache yes
        ResendQueueSize 131072
        ACKWindowSize 300
    }}
    UDP {{
        IPv4_address {own}
        IPv4_Destination_Address {peer}
        Port {port}
        Interface {interface}
        SndSocketBuffer 4194304
        RcvSocketBuffer 4194304
        Checksum on
    }}
    Options {{
        TCPWindowTracking no
    }}
}}
General {{
    HashSize {buckets}
    HashLimit {entries}
    Syslog off
    LockFile {directory}/lock
    UNIX {{
        Path {directory}/control.sock
    }}
    NetlinkBufferSize 8388608
    NetlinkBufferSizeMaxGrowth 67108864
    NetlinkOverrunResync yes
    EventIterationLimit 200
    Filter From Userspace {{
        Protocol Accept {{
            TCP
            UDP
            ICMP
        }}
        Address Accept {{
{networks}
        }}
    }}
}}
"""


def text(
    own: str, peer: str, interface: str, networks: t.Sequence[str], entries: int, directory: str = DIRECTORY
) -> str:
    """The file. ``networks``: of the clients of all identities. Flows of others stay where they are.

    ``entries``: the size of the kernel's table.
    """
    return TEMPLATE.format(
        own=own,
        peer=peer,
        port=SYNC_PORT,
        interface=interface,
        buckets=max(4096, entries // 4),
        entries=entries * 2,
        directory=directory,
        networks="\n".join(f"            IPv4_address {network}" for network in sorted(networks)),
    )
