# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who am I? Asked of the instance metadata service, version 2 only (session tokens). The role's secret keys are never read."""

from __future__ import annotations

import http.client
import json
import socket
import typing as t
from urllib.parse import urlsplit

from .errors import Ec2Error

ENDPOINT = "http://169.254.169.254"
DOCUMENT = "/latest/dynamic/instance-identity/document"
LONGEST = 65536  # bytes


def instance_identity(timeout: float = 1.0, endpoint: str = ENDPOINT) -> t.Dict[str, str]:
    """``instance_id, region, availability_zone, local_ipv4`` from the instance identity document (IMDSv2).

    ``timeout`` in seconds, for each of the two requests; proxies are not used. Raises ``Ec2Error``.
    """
    try:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = _request(endpoint, timeout, "PUT", "/latest/api/token", headers).strip()
        document = json.loads(_request(endpoint, timeout, "GET", DOCUMENT, {"X-aws-ec2-metadata-token": token}))
        return {
            "instance_id": str(document["instanceId"]),
            "region": str(document["region"]),
            "availability_zone": str(document["availabilityZone"]),
            "local_ipv4": str(document["privateIp"]),
        }
    except socket.timeout as error:
        code, problem = "Timeout", str(error)
    except OSError as error:
        code, problem = "EndpointUnreachable", str(error)
    except (http.client.HTTPException, ValueError, KeyError, TypeError, RecursionError) as error:
        code, problem = "BadAnswer", "%s: %s" % (type(error).__name__, error)
    raise Ec2Error(
        "IMDS",
        endpoint,
        code,
        "the instance metadata service does not say who this host is: %s" % problem,
        retryable=True,
        remedy="is this an EC2 instance with IMDSv2 enabled? Otherwise give the instance id and the region yourself",
    )


def _request(endpoint: str, timeout: float, method: str, path: str, headers: t.Mapping[str, str]) -> str:
    url = urlsplit(endpoint)
    connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=timeout)
    try:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        body = response.read(LONGEST).decode()
    finally:
        connection.close()
    if response.status != 200:
        raise OSError("HTTP %d for %s %s" % (response.status, method, path))
    return body
