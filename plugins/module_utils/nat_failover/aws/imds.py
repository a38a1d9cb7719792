# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance metadata service (IMDS), version 2 only: this instance's identity, and what EC2
plans for it.

The secret keys of the role are never read here. Source: EC2 User Guide, "Instance metadata
categories".
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import typing as t
from urllib.parse import urlsplit

from ..errors import Ec2Error

ENDPOINT = "http://169.254.169.254"
DOCUMENT = "/latest/dynamic/instance-identity/document"
METADATA = "/latest/meta-data/"
TOKEN = "/latest/api/token"
LONGEST = 65536  # bytes
TOKEN_TTL = 21600  # seconds, the longest


def instance_identity(timeout: float = 1.0, endpoint: str = ENDPOINT) -> dict[str, str]:
    """``instance_id, region, availability_zone, local_ipv4`` from the instance identity document
    (IMDSv2).

    ``timeout`` in seconds, for each of the two requests. Proxies are not used. Raises ``Ec2Error``.
    """
    what = "the instance metadata service does not identify this host"
    remedy = "is this an EC2 instance with IMDSv2 enabled? Otherwise give the instance id and the region yourself"
    with _connected(endpoint, timeout, what, remedy) as connection:
        token = _token(connection, 60)
        document = json.loads(_body(_get(connection, DOCUMENT, token), DOCUMENT))
        return {
            "instance_id": str(document["instanceId"]),
            "region": str(document["region"]),
            "availability_zone": str(document["availabilityZone"]),
            "local_ipv4": str(document["privateIp"]),
        }


class Metadata:
    """Reads categories repeatedly with one session token. For one thread at a time."""

    def __init__(self, endpoint: str = ENDPOINT, timeout: float = 1.0) -> None:
        self._endpoint, self._timeout = endpoint, timeout
        self._token = ""

    def read(self, paths: t.Mapping[str, str]) -> dict[str, str | None]:
        """The bodies of paths below ``/latest/meta-data/``, by the caller's names.

        None: HTTP 404. Raises ``Ec2Error``.
        """
        what = "the instance metadata service does not show what EC2 plans for this instance"
        with _connected(
            self._endpoint, self._timeout, what, "is IMDSv2 enabled, and reachable from here?"
        ) as connection:
            return {name: self._read(connection, METADATA + path) for name, path in paths.items()}

    def identity(self) -> dict[str, str]:
        """``instance_identity`` of the same endpoint. Raises ``Ec2Error``."""
        return instance_identity(self._timeout, self._endpoint)

    def _read(self, connection: http.client.HTTPConnection, path: str) -> str | None:
        answer = _get(connection, path, self._token) if self._token else None
        if answer is None or answer[0] == 401:  # no token yet, or it has expired
            self._token = _token(connection, TOKEN_TTL)
            answer = _get(connection, path, self._token)
        return None if answer[0] == 404 else _body(answer, path)


@contextlib.contextmanager
def _connected(endpoint: str, timeout: float, what: str, remedy: str) -> t.Iterator[http.client.HTTPConnection]:
    """A connection for a few requests. Any failure while it is in use becomes an ``Ec2Error``."""
    url = urlsplit(endpoint)
    connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=timeout)
    try:
        yield connection
        return
    except socket.timeout as error:
        code, problem = "Timeout", str(error)
    except OSError as error:
        code, problem = "EndpointUnreachable", str(error)
    except (http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        code, problem = "BadAnswer", f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    raise Ec2Error("IMDS", endpoint, code, f"{what}: {problem}", retryable=True, remedy=remedy)


def _token(connection: http.client.HTTPConnection, ttl: int) -> str:
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(ttl)}
    return _body(_request(connection, "PUT", TOKEN, headers), TOKEN, "PUT").strip()


def _get(connection: http.client.HTTPConnection, path: str, token: str) -> tuple[int, str]:
    return _request(connection, "GET", path, {"X-aws-ec2-metadata-token": token})


def _request(
    connection: http.client.HTTPConnection, method: str, path: str, headers: t.Mapping[str, str]
) -> tuple[int, str]:
    connection.request(method, path, headers=dict(headers))
    response = connection.getresponse()
    body = response.read(LONGEST)
    if response.read(1):
        connection.close()  # the rest of a longer body must not be taken for the next answer
    return response.status, body.decode()


def _body(answer: tuple[int, str], path: str, method: str = "GET") -> str:
    status, body = answer
    if status != 200:
        raise OSError(f"HTTP {status} for {method} {path}")
    return body
