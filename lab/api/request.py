# SPDX-License-Identifier: GPL-3.0-or-later
"""One AWS request as the overlay sees it: service, action, parameters, and who signed it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/(\d+)/([^/,]+)/([^/,]+)/aws4_request")
NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"  # of EC2's answers
READING = ("Describe", "Get", "List", "Search", "Lookup")


@dataclass
class ApiRequest:
    """Parsed once, before anything is decided. ``params`` are the flat query parameters (``InstanceId.1``) or the JSON body's keys."""

    environ: dict[str, Any]
    body: bytes
    service: str
    action: str
    region: str
    access_key: str
    params: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, environ: dict[str, Any], default_region: str) -> ApiRequest:
        """From a WSGI environment; the body can be read again afterwards."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        match = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        access_key, region, service = (match[1], match[3], match[4]) if match else ("", default_region, "")
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        params: dict[str, Any] = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        if target:
            try:
                loaded = json.loads(body or b"{}")
            except ValueError:
                loaded = {}
            params.update(loaded if isinstance(loaded, dict) else {})
        elif environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
            params.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        action = (
            target.rpartition(".")[2]
            or params.get("Action", "")
            or environ["REQUEST_METHOD"] + " " + environ["PATH_INFO"]
        )
        request = cls(environ, body, service, action, region, access_key, params)
        request.rewind()
        return request

    def rewind(self) -> None:
        """Let the next reader of the environment see the body from its start."""
        self.environ["wsgi.input"] = io.BytesIO(self.body)
        self.environ["CONTENT_LENGTH"] = str(len(self.body))

    def rewrite(self, **params: str) -> None:
        """Change query parameters of an EC2 call before moto sees them. After the signature has been checked only."""
        self.params.update(params)
        self.hide()

    def hide(self, *names: str) -> None:
        """Let moto see the query parameters without these. The call log keeps them."""
        self.body = urlencode({name: value for name, value in self.params.items() if name not in names}).encode()
        self.environ["QUERY_STRING"] = ""
        self.rewind()

    @property
    def dry_run(self) -> bool:
        """Whether the caller only asks if the call would be allowed."""
        return self.service == "ec2" and str(self.params.get("DryRun", "")).lower() == "true"

    @property
    def reads(self) -> bool:
        """Whether the call can change nothing."""
        return self.action.startswith(READING) or self.dry_run

    def get(self, name: str) -> str | None:
        """A flat parameter, None if absent."""
        value = self.params.get(name)
        return None if value is None else str(value)

    def members(self, name: str) -> list[str]:
        """``InstanceId.1``, ``InstanceId.2`` ... in order."""
        prefix = name + "."
        found = [
            (int(key[len(prefix) :]), str(value))
            for key, value in self.params.items()
            if key.startswith(prefix) and key[len(prefix) :].isdigit()
        ]
        return [value for _name, value in sorted(found)]

    def tags(self, name: str = "Tag") -> dict[str, str | None]:
        """``Tag.1.Key``/``Tag.1.Value`` pairs; the value of a key given alone is None."""
        result: dict[str, str | None] = {}
        for key, value in self.params.items():
            match = re.fullmatch(re.escape(name) + r"\.(\d+)\.Key", key)
            if match:
                result[str(value)] = self.get(f"{name}.{match[1]}.Value")
        return result
