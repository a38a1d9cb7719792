# SPDX-License-Identifier: GPL-3.0-or-later
"""The notification socket of systemd."""

from __future__ import annotations

import socket

from nat_failover.host.systemd import sd_notify


def test_sd_notify(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    sd_notify("READY=1")  # nobody to tell
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        sd_notify("READY=1\nSTATUS=fine")
        assert server.recv(100) == b"READY=1\nSTATUS=fine"
    sd_notify("WATCHDOG=1")  # systemd has gone: no reason to fail
