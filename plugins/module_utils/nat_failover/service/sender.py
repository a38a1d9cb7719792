# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's end of the local control socket.

It needs nothing of the service: a module that only asks is small, and starts soon.
"""

from __future__ import annotations

import json
import os
import socket
import time
import typing as t

from ..errors import NatFailoverError, NoAnswer, NotPermitted

LONGEST_WAIT = 86400  # seconds of a drain
ASK_EVERY = 0.2  # seconds


def send_request(directory: str, request: t.Mapping[str, t.Any], timeout: float = 10.0) -> dict[str, t.Any] | None:
    """Send a request to the service on this host and return its answer, or None if no service runs.

    ``timeout``: seconds. Raises ``NatFailoverError`` with the service's refusal, and for a socket
    that this user cannot reach or that gives no answer.
    """
    path = control_socket(directory)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise NotPermitted(
                f"{path}: {error.strerror or error}; run this as root or as a member of the group nat-failover"
            ) from None
        try:
            connection.sendall(json.dumps(dict(request)).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
        except OSError:
            raise NoAnswer(f"{path}: no answer within {int(timeout)} s; read `journalctl -u nat-failover`") from None
    if not line:
        raise NoAnswer(f"{path}: the service closed the connection; read `journalctl -u nat-failover`")
    answer = json.loads(line)
    if "error" in answer:
        raise NatFailoverError(answer["error"])
    return t.cast(dict[str, t.Any], answer)


def is_served(path: str) -> bool:
    """Whether a process listens on a local socket. One that a crashed process left has no listener."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # somebody is there, who does not let this process in
    return True


def control_socket(directory: str) -> str:
    """The path of the control socket in a runtime directory."""
    return os.path.join(directory, "control.sock")


def await_service(directory: str, seconds: float) -> bool:
    """Wait until a service on this host answers and has read the claims, which takes it a moment.

    False: none answers within ``seconds``.
    """
    end = time.monotonic() + seconds
    while True:
        status = send_request(directory, {"do": "status"})
        if status is not None and status["claims"]:
            return True
        if time.monotonic() > end:
            return status is not None
        time.sleep(ASK_EVERY)
