# SPDX-License-Identifier: GPL-3.0-or-later
"""The caller of a request: access keys, signatures (version 4), and the node behind a role's credentials."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

from moto.core.utils import utcnow

from . import backend
from .errors import ApiError
from .request import ApiRequest

OPERATOR = "operator"
# Fixed and worthless: they open this lab's API only. moto wants 20 upper case letters and digits.
OPERATOR_ACCESS_KEY = "AKIALABOPERATOR00000"
OPERATOR_SECRET_KEY = "lab-operator-secret-key-of-no-worth-0000"


@dataclass(frozen=True)
class Principal:
    """An authenticated caller. ``admin`` may do everything."""

    arn: str
    policies: tuple[dict[str, Any], ...]
    admin: bool = False
    instance_id: str = ""


class Identity:
    """Access keys of the lab's account, and those that a role of another one was assumed with."""

    def __init__(self, account: str, region: str) -> None:
        self._account, self._region = account, region
        self._names: dict[str, str] = {}
        self._accounts: dict[str, str] = {}

    def account(self, access_key: str) -> str:
        """The account that calls with this key see: that of its role, else the lab's."""
        if access_key not in self._accounts:
            assumed = (
                account
                for account in backend.accounts()
                for role in backend.sts(account).assumed_roles
                if role.access_key_id == access_key
            )
            self._accounts[access_key] = next(assumed, self._account)
        return self._accounts[access_key]

    def caller(self, access_key: str) -> str:
        """The node's name for a role's credentials, else ``operator``."""
        if access_key not in self._names:
            role = self._assumed_role(access_key)
            if role is None:
                return OPERATOR
            name = backend.tags(backend.ec2(self._account, self._region), role.session_name).get("Name")
            self._names[access_key] = name or role.session_name
        return self._names[access_key]

    def expire(self, caller: str) -> int:
        """Let all credentials of a node (by name) expire now; returns how many."""
        past = utcnow() - timedelta(seconds=1)
        roles = [role for role in backend.sts(self._account).assumed_roles if self.caller(role.access_key_id) == caller]
        for role in roles:
            role.expiration = min(role.expiration, past)
        return len(roles)

    def authenticate(self, request: ApiRequest) -> Principal:
        """Check key, token, signature and expiry; ``ApiError`` as AWS would say it."""
        if request.access_key == OPERATOR_ACCESS_KEY:
            _verify(request, OPERATOR_SECRET_KEY)
            return Principal(f"arn:aws:iam::{self._account}:user/{OPERATOR}", (), admin=True)
        role = self._assumed_role(request.access_key)
        if role is not None:
            if request.environ.get("HTTP_X_AMZ_SECURITY_TOKEN") != role.session_token:
                raise _refused(request)
            _verify(request, role.secret_access_key)
            if role.expiration <= utcnow():
                raise ApiError("RequestExpired" if request.service == "ec2" else "ExpiredToken", "Request has expired.")
            instance_id = role.session_name if role.session_name.startswith("i-") else ""
            policies = self._role_policies(self.account(request.access_key), role.role_arn)
            return Principal(role.arn, policies, instance_id=instance_id)
        for user in backend.iam(self._account).users.values():
            for key in user.access_keys:
                if key.access_key_id == request.access_key:
                    _verify(request, key.secret_access_key)
                    documents = [
                        *user.policies.values(),
                        *(_default_version(each) for each in user.managed_policies.values()),
                    ]
                    return Principal(user.arn, tuple(_load(each) for each in documents))
        raise _refused(request)

    def _assumed_role(self, access_key: str) -> Any:
        roles = backend.sts(self.account(access_key)).assumed_roles
        return next((role for role in roles if role.access_key_id == access_key), None)

    @staticmethod
    def _role_policies(account: str, role_arn: str) -> tuple[dict[str, Any], ...]:
        role = backend.iam(account).get_role_by_arn(role_arn)
        documents = [*role.policies.values(), *(_default_version(each) for each in role.managed_policies.values())]
        return tuple(_load(each) for each in documents)


def _default_version(policy: Any) -> Any:
    return next(version.document for version in policy.versions if version.is_default)


def _load(document: Any) -> dict[str, Any]:
    return json.loads(document) if isinstance(document, str) else dict(document)


def _refused(request: ApiRequest) -> ApiError:
    if request.service == "ec2":
        return ApiError("AuthFailure", "AWS was not able to validate the provided access credentials")
    if request.service == "dynamodb":
        return ApiError("UnrecognizedClientException", "The security token included in the request is invalid.")
    return ApiError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)


def _verify(request: ApiRequest, secret: str) -> None:
    header = request.environ.get("HTTP_AUTHORIZATION", "")
    parts = dict(re.findall(r"(Credential|SignedHeaders|Signature)=([^,\s]+)", header))
    if len(parts) != 3 or not hmac.compare_digest(_signature(request, parts, secret), parts["Signature"]):
        raise _refused(request)


def _signature(request: ApiRequest, parts: dict[str, str], secret: str) -> str:
    environ = request.environ
    _key, date, region, service, _end = parts["Credential"].split("/")
    signed = parts["SignedHeaders"].split(";")
    headers = "".join(f"{name}:{' '.join(_header(environ, name).split())}\n" for name in signed)
    query = "&".join(
        sorted(
            f"{quote(key, safe='-_.~')}={quote(value, safe='-_.~')}"
            for key, value in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        )
    )
    payload = _header(environ, "x-amz-content-sha256") or hashlib.sha256(request.body).hexdigest()
    path = quote(environ["PATH_INFO"].encode("latin-1") or b"/", safe="/-_.~")
    canonical = "\n".join([environ["REQUEST_METHOD"], path, query, headers, parts["SignedHeaders"], payload])
    scope = f"{date}/{region}/{service}/aws4_request"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", _header(environ, "x-amz-date"), scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _header(environ: dict[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    return str(environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key, ""))
