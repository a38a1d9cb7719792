# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The notification socket of systemd (sd_notify(3))."""

from __future__ import annotations

import os
import socket


def sd_notify(message: str) -> None:
    """Send a message to systemd. Does nothing in a process that systemd did not start."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        try:
            notify.sendto(message.encode(), socket.MSG_DONTWAIT, address)
        except OSError:
            pass  # the watchdog notices a service whose messages do not arrive
