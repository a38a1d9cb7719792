# SPDX-License-Identifier: GPL-3.0-or-later
"""The API alone on the loopback interface, for tests. Needs no root and no namespaces."""

from __future__ import annotations

import functools
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import JSONFileLoader, Loader, create_loader

from . import vpc
from .api import backend
from .api.calls import Call, read_calls
from .api.health_checks import Probe
from .api.identity import OPERATOR_ACCESS_KEY, OPERATOR_SECRET_KEY
from .api.power import PowerHook, Times
from .api.server import Api
from .api.snapshot import Instance, Snapshot
from .api.target_health import Check


class Whole(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    """Not botocore's own class, so that the engine does not thin out what the operator's clients share (see ``aws/botocore_subset.py``)."""


@functools.cache
def one_loader() -> Loader:
    """botocore's data, read once: a client would read EC2's model of 3 MB anew, and tests make one each time that they look."""
    loader = create_loader()
    loader.file_loader = Whole()
    return loader


def every_check_passes(_address: str, _port: int, _check: Check) -> bool:
    """The health check of an API without a network."""
    return True


class ServedApi:
    """An API that is being served, with the reference VPC in it. moto keeps one world per process: run one of these at a time."""

    def __init__(
        self,
        directory: Path,
        *,
        zones: Sequence[str] = ("a", "b"),
        enforce_iam: bool = False,
        source_dest_check: bool = True,
        on_change: Callable[[Snapshot], None] | None = None,
        control: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None,
        power: PowerHook | None = None,
        transition_s: float = 0.2,
        ipv6: bool = False,
        instance_type: str = vpc.INSTANCE_TYPE,
        probe: Probe = every_check_passes,
    ) -> None:
        self.ids = vpc.build(zones, source_dest_check=source_dest_check, ipv6=ipv6, instance_type=instance_type)
        self.call_log = directory / "calls.jsonl"
        self.api = Api(
            on_change=on_change,
            control=control,
            call_log=self.call_log,
            enforce_iam=enforce_iam,
            power=power,
            probe=probe,
        )
        self.api.power.times = Times(transition_s, transition_s, transition_s)
        listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.api.start([listener])

    def stop(self) -> None:
        """Close every connection."""
        self.api.stop()

    def credentials(self, node: str | None = None, lifetime_s: float = 3600) -> dict[str, str]:
        """boto3's credential arguments: a node's role, or the operator."""
        if node is None:
            return {"aws_access_key_id": OPERATOR_ACCESS_KEY, "aws_secret_access_key": OPERATOR_SECRET_KEY}
        with self.api.lock:
            minted = backend.mint(self.api.account, self.api.region, self.instance_id(node), lifetime_s)
        return {
            "aws_access_key_id": minted.access_key,
            "aws_secret_access_key": minted.secret_key,
            "aws_session_token": minted.token,
        }

    def client(self, service: str = "ec2", node: str | None = None, **config: Any) -> Any:
        """A boto3 client as a node or the operator, with no retries and short timeouts unless ``config`` says otherwise."""
        settings = {
            "retries": {"mode": "standard", "total_max_attempts": 1},
            "connect_timeout": 2,
            "read_timeout": 10,
            **config,
        }
        core = botocore.session.get_session()
        core.register_component("data_loader", one_loader())
        session = boto3.session.Session(region_name=self.api.region, botocore_session=core)
        return session.client(service, endpoint_url=self.endpoint, config=Config(**settings), **self.credentials(node))

    def calls(self, **wanted: Any) -> list[Call]:
        """The call log; see ``calls.read_calls``."""
        return read_calls(self.call_log, **wanted)

    def control(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> dict[str, Any]:
        """One of the controls of ``control``, without HTTP."""
        return self.api.own_control.handle(method, path, body or {})

    def arm(self, action: str = "*", **rule: Any) -> str:
        """Arm a fault of the API (``faults.Rule``); returns its id."""
        return str(self.control("fault", {"action": action, **rule})["id"])

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self.control("fault", method="DELETE")

    def instance_id(self, reference: str) -> str:
        """A node's instance id by its name (or id)."""
        return str(backend.find_instance(self.api.model, reference).id)

    def instance(self, reference: str) -> Instance:
        """An instance as it is now, by name or id."""
        return self.api.snapshot().instance(reference)

    def target(self, route_table: str, destination: str = vpc.DEFAULT_ROUTE) -> str | None:
        """The present target of a route. None if there is no such route."""
        return self.targets(route_table).get(destination)

    def targets(self, route_table: str) -> dict[str, str]:
        """The present targets of a table's routes, by destination."""
        table = next(each for each in self.api.snapshot().route_tables if each.id == route_table)
        return {route.destination: route.target_id for route in table.routes}


class RunningApi(ServedApi):
    """An API without a network: every fault is one of the API."""

    def fault(self, action: str = "*", **rule: Any) -> str:
        """Arm a fault (``faults.Rule``); returns its id."""
        return self.arm(action, **rule)


@contextmanager
def running_api(
    *, zones: Sequence[str] = ("a", "b"), enforce_iam: bool = False, **options: Any
) -> Iterator[RunningApi]:
    """A served API with the reference VPC; see ``ServedApi`` for the options."""
    with tempfile.TemporaryDirectory(prefix="lab-api-") as directory:
        api = RunningApi(Path(directory), zones=zones, enforce_iam=enforce_iam, **options)
        try:
            yield api
        finally:
            api.stop()
