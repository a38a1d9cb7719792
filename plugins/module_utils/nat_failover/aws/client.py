# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""boto3 as this product uses it: a client of one service, and the codes and remedies of failed
calls. Knows no service.

boto3's clients are botocore's, which comes with it. The rest of boto3 (resources, transfers of S3)
is not imported: it would cost the service 2.6 MB and serve nothing.
"""

from __future__ import annotations

import email.utils
import functools
import threading
import time
import typing as t

from ..errors import NatFailoverError
from ..model.text import plain
from . import authorities, botocore_subset, codes
from .calls import Call

try:
    import botocore
    import botocore.config
    import botocore.exceptions
    import botocore.parsers
    import botocore.session

    HAS_BOTOCORE = True
except ImportError:
    HAS_BOTOCORE = False

DENIED = codes.of(codes.DENIED)
LONGEST_MESSAGE = 600  # characters; refusals of AWS name a role and a resource by their ARNs
# Raised by botocore's parsers and by readers of an answer, when the answer is no answer of AWS. A
# RuntimeError comes from a time that no calendar has, and from an answer that is nested too deep.
GARBAGE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RuntimeError)


# Codes of a client without credentials or with old ones. botocore searches for credentials once,
# when the client is made. It uses those of IMDS up to 20 minutes beyond their end if IMDS gives no
# newer ones ("static stability").
WITHOUT_CREDENTIALS = codes.of(codes.CREDENTIALS)
CLOCKS_AGREE = 60.0  # seconds; AWS allows five minutes and more
RENEW_EVERY = 10.0  # seconds, at least, between two clients


class Caller(t.Protocol):
    """Makes calls to one service of AWS."""

    @property
    def url(self) -> str:
        """The URL that calls go to."""

    def call(
        self, call: Call, fail: t.Callable[[str, str], NatFailoverError], **parameters: t.Any
    ) -> t.Mapping[str, t.Any]:
        """The answer of one call. Raises what ``fail(code, message)`` makes of any failure."""


class Connection:
    """A client of one service.

    It never repeats a call by itself: that is the caller's decision. Times in seconds.

    Safe to call from several threads. After a failure for missing or old credentials, the next call
    uses new ones, if there are any. Raises ``NatFailoverError`` if boto3 is missing, or if no
    client can be made.
    """

    def __init__(
        self,
        service: str,
        region: str,
        endpoint_url: str | None,
        connect_timeout: float,
        read_timeout: float,
        pool: int,
    ) -> None:
        if not HAS_BOTOCORE:
            raise NatFailoverError(
                "the Python library boto3 is missing; install it (Debian: apt-get install python3-boto3)"
            )
        # Defaults of retry modes, attempts and timeouts (60 s) differ between versions of botocore,
        # so all are set.
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

    @property
    def url(self) -> str:
        """The URL that calls go to, as botocore found it.

        Each partition of AWS has a domain of its own.
        """
        return str(self.client.meta.endpoint_url)

    def call(
        self, call: Call, fail: t.Callable[[str, str], NatFailoverError], **parameters: t.Any
    ) -> t.Mapping[str, t.Any]:
        """The answer of one call.

        Raises what ``fail(code, message)`` makes of any failure, and nothing else.

        ``code`` is that of AWS, or ``NoCredentials``, ``EndpointUnreachable``, ``Timeout``,
        ``BadAnswer``, ``UnknownCall``.
        """
        client = self.client
        method = getattr(client, call.method, None)
        if method is None:
            raise fail("UnknownCall", f"botocore {botocore.__version__} does not know this call")
        try:
            return t.cast(t.Mapping[str, t.Any], method(**parameters))
        except (
            botocore.exceptions.BotoCoreError,
            botocore.exceptions.ClientError,
            botocore.parsers.ResponseParserError,
            *GARBAGE,
        ) as error:
            code, message = _failure(error)
        if code in WITHOUT_CREDENTIALS:
            self._renew(client)
        raise fail(code, message)

    def _renew(self, failed: t.Any) -> None:
        """Search for credentials with a new client. A new client without any is dropped."""
        if not self._renewing.acquire(blocking=False):
            return  # another thread does it
        try:
            if self.client is failed and time.monotonic() - self._renewed >= RENEW_EVERY:
                client, credentials = self._connect()
                self._renewed = time.monotonic()
                self.client = client if credentials else failed
        except NatFailoverError:
            self._renewed = time.monotonic()
        finally:
            self._renewing.release()


def _connect(service: str, region: str, endpoint_url: str | None, config: t.Any) -> tuple[t.Any, bool]:
    """A new client, and whether it has found credentials."""
    try:
        session = botocore.session.get_session()
        botocore_subset.apply(session)
        client = session.create_client(service, region_name=region, endpoint_url=endpoint_url, config=config)
        authorities.load_once(client)
        return client, session.get_credentials() is not None
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise NatFailoverError(
            f"{service}: no client for region {region!r}, endpoint {endpoint_url!r}: {error}"
        ) from None


def _failure(error: Exception) -> tuple[str, str]:
    """(code, message) of a failure. The code is that of AWS if there is one."""
    known = botocore.exceptions
    if isinstance(error, known.ClientError):
        detail = error.response.get("Error", {})
        code, message = str(detail.get("Code") or ""), str(detail.get("Message") or error)
        if code and not code.isdigit():
            return code, message + (_clocks(error) if code in WITHOUT_CREDENTIALS else "")
        # No code, or an HTTP status: the page of a proxy or of another host on the way.
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return "BadAnswer", f"HTTP {status}: {message}"
    if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError, known.CredentialRetrievalError)):
        return "NoCredentials", str(error)
    if isinstance(error, (known.ReadTimeoutError, known.ConnectTimeoutError)):
        return "Timeout", str(error)
    if isinstance(error, (known.ConnectionError, known.HTTPClientError)):
        # Refused, no route, DNS, TLS, proxy. Closed in the middle, a write may have been applied.
        return "EndpointUnreachable", str(error)
    return "BadAnswer", f"{type(error).__name__}: {error}"


def _clocks(error: t.Any) -> str:
    """The clock of this host beside that of AWS. Empty without a header Date (RFC 9110).

    AWS refuses a request whose time is some minutes from its own as it refuses old credentials.
    """
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        ahead = time.time() - email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return ""
    if abs(ahead) < CLOCKS_AGREE:
        return " (this host's clock agrees with that of AWS)"
    return f" (this host's clock is {abs(ahead) / 60:.0f} min {'ahead of' if ahead > 0 else 'behind'} that of AWS)"


def line(message: str) -> str:
    """A message of AWS as one line of at most ``LONGEST_MESSAGE`` characters."""
    return plain(" ".join(message.split()))[:LONGEST_MESSAGE]


def remedy(code: str, url: str, endpoint_key: str) -> str:
    """The remedy for a failure that is the same for every service. Empty for all others."""
    reach = f"check that this host reaches {url} (its own route, security group, {endpoint_key})"
    return {
        "NoCredentials": (
            "attach an instance profile with the role's policy to this instance, and see that IMDS "
            "(169.254.169.254) answers"
        ),
        "EndpointUnreachable": reach,
        "Timeout": reach,
        "UnknownCall": "install boto3 1.26 or later (Debian: apt-get install python3-boto3)",
        "AuthFailure": "check this instance's role and the clock",
        "RequestExpired": "check this instance's clock, and that IMDS (169.254.169.254) still gives credentials",
        "ExpiredToken": "check that IMDS (169.254.169.254) still gives credentials",
    }.get(code, "")
