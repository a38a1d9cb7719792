# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""boto3 as this product uses it: a client of one service, and what its calls fail with, in our words. Knows no service."""

from __future__ import annotations

import functools
import threading
import time
import typing as t

from ..errors import NatFailoverError
from . import botocore_subset as lean

try:
    import boto3
    import botocore.config
    import botocore.exceptions
    import botocore.parsers
    import botocore.session

    HAS_BOTO3 = True
except ImportError:
    HAS_BOTO3 = False

RETRYABLE = frozenset(
    (
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "InternalError",
        "InternalFailure",
        "ServiceUnavailable",
        "Unavailable",
        "EndpointUnreachable",
        "Timeout",
        "BadAnswer",
        "ExpiredToken",
        "RequestExpired",
    )
)
DENIED = frozenset(("UnauthorizedOperation", "AccessDenied", "AccessDeniedException"))
LONGEST_MESSAGE = 600  # characters; AWS's refusals name a role and a resource by their ARNs


# What a client that holds no or old credentials fails with. botocore looks for them once, when the client is made; and it believes in
# those that IMDS gave for up to 20 minutes beyond their end when they were near it ("static stability").
WITHOUT_CREDENTIALS = frozenset(
    (
        "NoCredentials",
        "RequestExpired",
        "ExpiredToken",
        "ExpiredTokenException",
        "AuthFailure",
        "UnrecognizedClientException",
    )
)
RENEW_EVERY = 10.0  # seconds, at least, between two clients


class Connection:
    """A client of one service that never repeats a call by itself: repeating is the caller's decision. Times in seconds.

    Safe to call from several threads. When the credentials turn out to be none or old, the next call uses new ones, if there are any.
    """

    def __init__(
        self,
        service: str,
        region: str,
        endpoint_url: t.Optional[str],
        connect_timeout: float,
        read_timeout: float,
        pool: int,
    ) -> None:
        if not HAS_BOTO3:
            raise NatFailoverError(
                "the Python library boto3 is missing; install it (Debian: apt-get install python3-boto3)"
            )
        # Retry modes, attempts and timeouts (60 s!) differ between botocore's versions: say all of them.
        config = botocore.config.Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            tcp_keepalive=True,
            max_pool_connections=pool,
            retries={"mode": "standard", "total_max_attempts": 1},
            parameter_validation=False,
        )
        self._connect = functools.partial(_connect, service, region, endpoint_url, config)
        self._renewing = threading.Lock()
        self._renewed = float("-inf")
        self.client, _credentials = self._connect()

    def call(
        self, action: str, fail: t.Callable[[str, str], NatFailoverError], **parameters: t.Any
    ) -> t.Mapping[str, t.Any]:
        """One call; whatever botocore raises becomes what ``fail(code, message)`` makes of it."""
        client = self.client
        words = ("_" + character.lower() if character.isupper() else character for character in action)
        try:
            return t.cast(t.Mapping[str, t.Any], getattr(client, "".join(words).lstrip("_"))(**parameters))
        except (
            botocore.exceptions.BotoCoreError,
            botocore.exceptions.ClientError,
            botocore.parsers.ResponseParserError,
        ) as error:
            code, message = _failure(error)
        if code in WITHOUT_CREDENTIALS:
            self._renew(client)
        raise fail(code, message)

    def _renew(self, failed: t.Any) -> None:
        """Look for credentials anew, with a new client; one without any is no better than the old one."""
        if not self._renewing.acquire(blocking=False):
            return  # another thread is at it
        try:
            if self.client is failed and time.monotonic() - self._renewed >= RENEW_EVERY:
                client, credentials = self._connect()
                self._renewed = time.monotonic()
                self.client = client if credentials else failed
        except NatFailoverError:
            self._renewed = time.monotonic()
        finally:
            self._renewing.release()


def _connect(service: str, region: str, endpoint_url: t.Optional[str], config: t.Any) -> t.Tuple[t.Any, bool]:
    """A new client, and whether it has found credentials."""
    try:
        core = botocore.session.get_session()
        lean.apply(core)
        session = boto3.session.Session(region_name=region, botocore_session=core)
        client = session.client(service, endpoint_url=endpoint_url, config=config)
        return client, session.get_credentials() is not None
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise NatFailoverError(
            "%s: no client for region %r, endpoint %r: %s" % (service, region, endpoint_url, error)
        ) from None


def _failure(error: Exception) -> t.Tuple[str, str]:
    """(code, message): AWS's code, or one of ours where there is none."""
    known = botocore.exceptions
    if isinstance(error, known.ClientError):
        detail = error.response.get("Error", {})
        code, message = str(detail.get("Code") or ""), str(detail.get("Message") or error)
        if code and not code.isdigit():
            return code, message
        # None, or an HTTP status: a page that is not of AWS but of something on the way.
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return "BadAnswer", "HTTP %s: %s" % (status, message)
    if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError, known.CredentialRetrievalError)):
        return "NoCredentials", str(error)
    if isinstance(error, (known.ReadTimeoutError, known.ConnectTimeoutError)):
        return "Timeout", str(error)
    if isinstance(error, (known.ConnectionError, known.HTTPClientError)):
        # Refused, no route, DNS, TLS, proxy; or closed in the middle, when a write may have been applied.
        return "EndpointUnreachable", str(error)
    return "BadAnswer", "%s: %s" % (type(error).__name__, error)


def line(message: str) -> str:
    """A message of AWS as one line of bearable length."""
    return " ".join(message.split())[:LONGEST_MESSAGE]


def remedy(code: str, url: str, endpoint_key: str) -> str:
    """What to do about failures that are the same for every service; empty for all others."""
    reach = "check that this host reaches %s (its own route, security group, %s)" % (url, endpoint_key)
    return {
        "NoCredentials": "attach an instance profile with the role's policy to this instance, and see that IMDS (169.254.169.254) answers",
        "EndpointUnreachable": reach,
        "Timeout": reach,
        "AuthFailure": "check this instance's role and the clock",
        "RequestExpired": "check this instance's clock, and that IMDS (169.254.169.254) still gives credentials",
        "ExpiredToken": "check that IMDS (169.254.169.254) still gives credentials",
    }.get(code, "")
