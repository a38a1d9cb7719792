# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting, stopping, rebooting and terminating take time, as on AWS, and the fabric can make the hosts follow.

A transition ends when its time is over *and* the ``power`` hook, called at its start in a thread of its own, has returned.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import addresses
from .backend import find_instance, instances
from .errors import Answer, ApiError
from .request import NAMESPACE, ApiRequest

log = logging.getLogger(__name__)

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
ACTIONS = ("StartInstances", "StopInstances", "RebootInstances")

PowerHook = Callable[[str, str], None]


@dataclass
class Times:
    """Seconds that a transition takes at least."""

    start_s: float = 1.0
    stop_s: float = 1.0
    terminate_s: float = 1.0


class Power:
    """The states of instances over time. Every method but the transitions' own threads is called with the API's lock held."""

    def __init__(self, lock: threading.RLock, changed: Callable[[], None], power: PowerHook | None = None) -> None:
        self.times = Times()
        self.stuck: set[str] = set()
        self._lock = lock
        self._changed = changed
        self._hook = power
        self._epochs: dict[str, int] = {}
        self._closed = threading.Event()

    def close(self) -> None:
        """Let running transitions end without effect."""
        self._closed.set()

    def handle(self, model: Any, request: ApiRequest) -> Answer:
        """Answer StartInstances, StopInstances or RebootInstances. Refuses all of them before it changes any."""
        targets = [find_instance(model, instance_id) for instance_id in request.members("InstanceId")]
        force = str(request.params.get("Force", "")).lower() == "true"
        for instance in targets:
            self._admit(request.action, instance)
        items = []
        for instance in targets:
            previous = instance.state
            if request.action == "StartInstances":
                self.start(instance)
            elif request.action == "StopInstances":
                self.stop(instance, force)
            else:
                self._call_hook(instance.id, "reboot")
            items.append(
                f"<item><instanceId>{instance.id}</instanceId>{_state('currentState', instance.state)}{_state('previousState', previous)}</item>"
            )
        content = (
            "<return>true</return>"
            if request.action == "RebootInstances"
            else f"<instancesSet>{''.join(items)}</instancesSet>"
        )
        body = f'<{request.action}Response xmlns="{NAMESPACE}"><requestId>{uuid.uuid4()}</requestId>{content}</{request.action}Response>'
        return Answer(200, body.encode(), [("Content-Type", "text/xml;charset=UTF-8")])

    def start(self, instance: Any) -> None:
        """stopped -> pending -> running."""
        if instance.state == "stopped":
            self._begin(instance, "pending", "running", "on", self.times.start_s)

    def stop(self, instance: Any, force: bool = False) -> None:
        """running -> stopping -> stopped. A stuck instance stays stopping until it is forced."""
        if force:
            self.stuck.discard(instance.id)
        elif instance.state == "stopping":
            return
        if instance.state in ("running", "stopping"):
            if instance.id in self.stuck:
                self._epochs[instance.id] = self._epochs.get(instance.id, 0) + 1
                set_state(instance, "stopping")
                return
            self._begin(instance, "stopping", "stopped", "off", self.times.stop_s)

    def launched(self, instance: Any) -> None:
        """After RunInstances: pending -> running."""
        self._begin(instance, "pending", "running", "on", self.times.start_s)

    def terminated(self, instance: Any) -> None:
        """After TerminateInstances, which moto does at once: shutting-down -> terminated."""
        self._begin(instance, "shutting-down", "terminated", "off", self.times.terminate_s)

    def release(self, model: Any, instance_id: str) -> None:
        """No longer stuck; a stop that waited for it proceeds."""
        self.stuck.discard(instance_id)
        instance = find_instance(model, instance_id)
        if instance.state == "stopping":
            self._begin(instance, "stopping", "stopped", "off", self.times.stop_s)

    def settle(self, model: Any) -> None:
        """End every transition now."""
        final = {"pending": "running", "stopping": "stopped", "shutting-down": "terminated"}
        self.stuck.clear()
        for instance in instances(model):
            if instance.state in final:
                self._epochs[instance.id] = self._epochs.get(instance.id, 0) + 1
                set_state(instance, final[instance.state])

    def _admit(self, action: str, instance: Any) -> None:
        allowed = {
            "StartInstances": ("stopped", "pending", "running"),
            "StopInstances": ("running", "stopping", "stopped"),
            "RebootInstances": ("running",),
        }[action]
        verb = {"StartInstances": "started", "StopInstances": "stopped", "RebootInstances": "rebooted"}[action]
        if instance.state not in allowed:
            raise ApiError(
                "IncorrectInstanceState", f"The instance '{instance.id}' is not in a state from which it can be {verb}."
            )
        if action == "StopInstances" and instance.disable_api_stop:
            raise ApiError(
                "OperationNotPermitted",
                f"The instance '{instance.id}' may not be stopped. "
                "Modify its 'disableApiStop' instance attribute and try again.",
            )

    def _begin(self, instance: Any, now: str, then: str, word: str, seconds: float) -> None:
        epoch = self._epochs[instance.id] = self._epochs.get(instance.id, 0) + 1
        set_state(instance, now)
        threading.Thread(
            target=self._transition,
            args=(instance, epoch, then, word, seconds),
            name=f"power-{instance.id}",
            daemon=True,
        ).start()

    def _transition(self, instance: Any, epoch: int, then: str, word: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._run_hook(instance.id, word)
        if self._closed.wait(max(0.0, end - time.monotonic())):
            return
        with self._lock:
            if self._epochs.get(instance.id) == epoch and not self._closed.is_set():
                set_state(instance, then)
                self._changed()

    def _call_hook(self, instance_id: str, word: str) -> None:
        threading.Thread(
            target=self._run_hook, args=(instance_id, word), name=f"power-{instance_id}", daemon=True
        ).start()

    def _run_hook(self, instance_id: str, word: str) -> None:
        if self._hook is not None:
            try:
                self._hook(instance_id, word)
            except Exception:
                log.exception("power %s of %s", word, instance_id)


def set_state(instance: Any, name: str) -> None:
    """Put an instance into a state, with its side effects on public addresses."""
    if name == "stopped":
        instance.stop()
    elif name == "running" and instance.state == "pending":
        for interface in instance.nics.values():
            if not interface.public_ip:
                interface.start()
    elif name == "terminated":
        addresses.of_terminated(instance)
    instance._state.name, instance._state.code = name, CODES[name]


def _state(tag: str, name: str) -> str:
    return f"<{tag}><code>{CODES[name]}</code><name>{name}</name></{tag}>"
