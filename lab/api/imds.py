# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance metadata service, version 2 only: one WSGI app per node, served inside the node's network namespace."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from . import address_views, backend
from .corrections import primary_interface
from .httpd import HttpServer, status_line
from .interruptions import Notices

TTL_MAX_S = 21600


class Imds:
    """The metadata of one instance, read from moto at each request. The public attributes may be set at any time."""

    def __init__(
        self,
        instance_id: str,
        *,
        account: str = backend.ACCOUNT,
        region: str = backend.REGION,
        credential_lifetime_s: float = 21600,
        lock: threading.RLock | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.instance_id = instance_id
        self.credential_lifetime_s = credential_lifetime_s
        self.notices = Notices()
        self._account, self._region = account, region
        self._lock = lock or threading.RLock()
        self._clock = clock
        self._tokens: dict[str, float] = {}
        self._credentials: backend.Credentials | None = None
        self._renew_at = 0.0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI."""
        with self._lock:
            status, body, headers = self._answer(environ)
        start_response(status_line(status), [("Content-Type", "text/plain"), ("Server", "EC2ws"), *headers])
        return [body.encode()]

    def drop_credentials(self) -> None:
        """The next request for credentials gets new ones."""
        self._credentials = None

    def _answer(self, environ: dict[str, Any]) -> tuple[int, str, list[tuple[str, str]]]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].rstrip("/")
        if path == "/latest/api/token":
            return self._token(environ) if method == "PUT" else (405, "", [])
        if self._tokens.get(environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN", ""), 0.0) <= self._clock():
            return 401, "Unauthorized\n", []
        if method not in ("GET", "HEAD"):
            return 405, "", []
        value = self._find(path)
        return (404, "Not Found\n", []) if value is None else (200, value, [])

    def _token(self, environ: dict[str, Any]) -> tuple[int, str, list[tuple[str, str]]]:
        if environ.get("HTTP_X_FORWARDED_FOR"):
            return 403, "", []  # AWS: a request that came through a proxy gets no token
        ttl = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS", "")
        if not ttl.isdigit() or not 1 <= int(ttl) <= TTL_MAX_S:
            return 400, "Bad Request\n", []
        now = self._clock()
        self._tokens = {token: end for token, end in self._tokens.items() if end > now}
        token = secrets.token_urlsafe(32)
        self._tokens[token] = now + int(ttl)
        return 200, token, [("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", ttl)]

    def _find(self, path: str) -> str | None:
        """Walk the tree; a directory lists its children, a directory among these with a slash."""
        if path == "/latest/dynamic/instance-identity/document":
            return json.dumps(self._document(), indent=2)
        node: Any = self._tree()
        prefix = "/latest/meta-data"
        if path != prefix and not path.startswith(prefix + "/"):
            return None
        for part in path[len(prefix) + 1 :].split("/") if path != prefix else []:
            if not isinstance(node, dict) or part not in node:
                return None
            node = node[part]
            node = node() if callable(node) else node
        if isinstance(node, dict):
            return "\n".join(f"{name}/" if isinstance(child, dict) else name for name, child in node.items())
        return str(node)

    def _tree(self) -> dict[str, Any]:
        model, instance = self._instance()
        interface = primary_interface(instance)
        zone = instance.placement.zone
        group_names = "\n".join(group.name for group in instance.security_groups)
        mac_tree = {
            "device-number": "0",
            "interface-id": interface.id,
            "local-ipv4s": "\n".join(address_views.addresses_of(interface)),
            "mac": interface.mac_address,
            "owner-id": self._account,
            "security-groups": group_names,
            "subnet-id": interface.subnet.id,
            "subnet-ipv4-cidr-block": interface.subnet.cidr_block,
            "vpc-id": interface.subnet.vpc_id,
            "vpc-ipv4-cidr-block": model.vpcs[interface.subnet.vpc_id].cidr_block,
        }
        tree: dict[str, Any] = {
            "ami-id": instance.image_id,
            "hostname": instance.private_dns_name,
            "instance-id": instance.id,
            "instance-type": instance.instance_type,
            "local-hostname": instance.private_dns_name,
            "local-ipv4": interface.private_ip_address,
            "mac": interface.mac_address,
            "network": {"interfaces": {"macs": {interface.mac_address: mac_tree}}},
            "placement": {"availability-zone": zone, "region": self._region},
            "security-groups": group_names,
            "services": {"domain": "amazonaws.com", "partition": backend.PARTITION},
        }
        public = address_views.public_addresses(model, interface)
        if public:
            mac_tree["public-ipv4s"] = "\n".join(public.values())
            mac_tree["ipv4-associations"] = {each: private for private, each in public.items()}
        if interface.private_ip_address in public:
            tree["public-ipv4"] = public[interface.private_ip_address]
        role = backend.role_of(model, instance.id)
        if role is not None:
            tree["iam"] = {
                "info": lambda: self._info(role),
                "security-credentials": {role.name: self._security_credentials},
            }
        notices = self.notices
        tree["events"] = {
            "maintenance": {
                "history": json.dumps(notices.history, indent=2),
                "scheduled": json.dumps(notices.scheduled, indent=2),
            }
        }
        if notices.spot_action is not None:
            tree["spot"] = {"instance-action": json.dumps(notices.spot_action)}
        if notices.rebalance is not None:
            tree["events"]["recommendations"] = {"rebalance": json.dumps(notices.rebalance)}
        if notices.lifecycle_state is not None:
            tree["autoscaling"] = {"target-lifecycle-state": notices.lifecycle_state}
        if instance.metadata_options.instance_metadata_tags == "enabled":
            tree["tags"] = {"instance": backend.tags(model, instance.id)}
        return tree

    def _instance(self) -> tuple[Any, Any]:
        model = backend.ec2(self._account, self._region)
        return model, backend.find_instance(model, self.instance_id)

    def _document(self) -> dict[str, Any]:
        _model, instance = self._instance()
        return {
            "accountId": self._account,
            "architecture": instance.architecture,
            "availabilityZone": instance.placement.zone,
            "imageId": instance.image_id,
            "instanceId": instance.id,
            "instanceType": instance.instance_type,
            "pendingTime": _iso(instance.launch_time),
            "privateIp": instance.private_ip,
            "region": self._region,
            "version": "2017-09-30",
        }

    def _info(self, role: Any) -> str:
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": _iso(datetime.now(UTC)),
                "InstanceProfileId": role.id,
                "InstanceProfileArn": f"arn:aws:iam::{self._account}:instance-profile/{role.name}",
            },
            indent=2,
        )

    def _security_credentials(self) -> str:
        # Renewed well before they end, as on AWS, so that a client which reads them again in time is never without.
        if self._credentials is None or self._clock() >= self._renew_at:
            self._credentials = backend.mint(self._account, self._region, self.instance_id, self.credential_lifetime_s)
            self._renew_at = self._clock() + self.credential_lifetime_s * 0.5
        minted = self._credentials
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": _iso(datetime.now(UTC)),
                "Type": "AWS-HMAC",
                "AccessKeyId": minted.access_key,
                "SecretAccessKey": minted.secret_key,
                "Token": minted.token,
                "Expiration": _iso(minted.expiration),
            },
            indent=2,
        )


def imds_app(instance_id: str, **options: Any) -> Imds:
    """The WSGI app of one instance; see ``Imds`` for the options."""
    return Imds(instance_id, **options)


def serve(app: Any, listener: socket.socket) -> HttpServer:
    """Serve on a listening socket, which may have been made in another network namespace. Call ``stop()`` on what it returns."""
    server = HttpServer(app, "lab-imds")
    server.serve(listener)
    return server


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
