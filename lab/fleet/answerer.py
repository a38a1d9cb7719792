# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers on the control socket of a host of a crowd, where no service runs: by which files it was started.

The digest is that of the engine that the role has installed there. A reload starts this anew.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
from pathlib import Path

ENGINE, CONFIG = "/usr/local/lib/nat-failover", "/etc/nat-failover/config.json"
SOCKET = Path("/run/nat-failover/control.sock")


def main() -> None:
    """Read the files, then answer each request with their digest."""
    sys.path.insert(0, ENGINE)  # there once the role has installed it
    digest = importlib.import_module("nat_failover.config.load").load_all(CONFIG).digest
    answer = {"settings": {"digest": digest, "refused": ""}, "self": {"ec2": True}, "summary": "a host of a crowd"}
    SOCKET.parent.mkdir(parents=True, exist_ok=True)
    SOCKET.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(SOCKET))
        listener.listen(8)
        while True:
            with listener.accept()[0] as connection:
                connection.makefile("rb").readline()
                connection.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
