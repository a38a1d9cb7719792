# SPDX-License-Identifier: GPL-3.0-or-later
"""``/_lab/api/...``: the overlay's own controls. JSON in, JSON out.

GET    (empty)           what is in force
POST   fault             a rule (see ``faults.Rule``); answers its id.  GET: the rules.  DELETE [/<id>]: disarm
POST   times             {"start_s": .., "stop_s": .., "terminate_s": ..}
POST   balancer          {"registration_s": .., "propagation_s": ..}: what AWS takes minutes for
POST   addresses         {"delay_s": ..}: from AssociateAddress until the internet gateway translates so
POST   stuck             {"instance": id or name, "stuck": true}: its next stop stays ``stopping`` until forced
POST   impaired          {"instance": .., "instance_status": "impaired", "system_status": "ok"}
POST   expire            {"caller": node name}: its credentials expire now
POST   iam               {"enforce": true}
POST   reset             disarm, heal and settle everything
GET    snapshot          the VPC
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from . import backend, target_groups
from .corrections import set_status
from .faults import Rule
from .power import Times
from .state import State

STATUSES = ("ok", "impaired", "initializing", "insufficient-data")


class ControlError(Exception):
    """A refusal, with its HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """Dispatches control calls to one API."""

    def __init__(self, state: State) -> None:
        self._state = state

    def handle(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call, under the API's lock."""
        name, _slash, rest = path.partition("/")
        handler = getattr(self, f"_{method.lower()}_{name or 'status'}", None)
        if handler is None:
            raise ControlError(f"no such control: {method} /_lab/api/{path}", 404)
        with self._state.lock:
            result: dict[str, Any] = handler(rest, body)
            return result

    def _get_status(self, _rest: str, _body: dict[str, Any]) -> dict[str, Any]:
        state = self._state
        return {
            "enforce_iam": state.enforce_iam,
            "faults": state.faults.describe(),
            "times": asdict(state.power.times),
            "stuck": sorted(state.power.stuck),
            "addresses": {"delay_s": state.associations.delay_s},
        }

    def _get_snapshot(self, _rest: str, _body: dict[str, Any]) -> dict[str, Any]:
        return asdict(self._state.snapshot())

    def _get_fault(self, _rest: str, _body: dict[str, Any]) -> dict[str, Any]:
        return {"faults": self._state.faults.describe()}

    def _post_fault(self, _rest: str, body: dict[str, Any]) -> dict[str, Any]:
        rule = Rule.load(body)
        if rule.stale_s and not self._state.faults.stale:
            self._state.history.forget()
            self._state.history.remember(self._state.model)
        return {"id": self._state.faults.add(rule)}

    def _delete_fault(self, rest: str, _body: dict[str, Any]) -> dict[str, Any]:
        if not rest:
            self._state.faults.clear()
        elif not self._state.faults.remove(rest):
            raise ControlError(f"no fault {rest!r}", 404)
        return {"faults": self._state.faults.describe()}

    def _post_times(self, _rest: str, body: dict[str, Any]) -> dict[str, Any]:
        known = {each.name for each in fields(Times)}
        if not set(body) <= known:
            raise ControlError(f"unknown times {sorted(set(body) - known)}; known: {sorted(known)}")
        for name, value in body.items():
            setattr(self._state.power.times, name, float(value))
        return asdict(self._state.power.times)

    def _post_balancer(self, _rest: str, body: dict[str, Any]) -> dict[str, Any]:
        delays = target_groups.delays(self._state.balancers)
        known = {each.name for each in fields(target_groups.Delays)}
        if not set(body) <= known:
            raise ControlError(f"unknown delays {sorted(set(body) - known)}; known: {sorted(known)}")
        for name, value in body.items():
            setattr(delays, name, float(value))
        return asdict(delays)

    def _post_addresses(self, _rest: str, body: dict[str, Any]) -> dict[str, Any]:
        if set(body) != {"delay_s"}:
            raise ControlError(f"addresses takes delay_s, not {sorted(body)}")
        self._state.associations.delay(float(body["delay_s"]), self._state.snapshot().translated)
        return {"delay_s": self._state.associations.delay_s}

    def _post_stuck(self, _rest: str, body: dict[str, Any]) -> dict[str, Any]:
        instance = self._instance(body)
        if body.get("stuck", True):
            self._state.power.stuck.add(instance.id)
        else:
            self._state.power.release(self._state.model, instance.id)
        return {"stuck": sorted(self._state.power.stuck)}

    def _post_impaired(self, _rest: str, body: dict[str, Any]) -> dict[str, Any]:
        instance = self._instance(body)
        values = {
            "instance_status": body.get("instance_status", "impaired"),
            "system_status": body.get("system_status", "ok"),
        }
        if not set(values.values()) <= set(STATUSES):
            raise ControlError(f"a status is one of {STATUSES}")
        set_status(instance, **values)
        return {"instance": instance.id, **values}

    def _post_expire(self, _rest: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"expired": self._state.identity.expire(body["caller"])}

    def _post_iam(self, _rest: str, body: dict[str, Any]) -> dict[str, Any]:
        self._state.enforce_iam = bool(body["enforce"])
        return {"enforce": self._state.enforce_iam}

    def _post_reset(self, _rest: str, _body: dict[str, Any]) -> dict[str, Any]:
        state = self._state
        state.faults.clear()
        state.history.forget()
        state.power.times = Times()
        state.power.settle(state.model)
        state.associations.settle()
        for instance in backend.instances(state.model):
            set_status(instance)
        state.changed()
        return self._get_status("", {})

    def _instance(self, body: dict[str, Any]) -> Any:
        try:
            return backend.find_instance(self._state.model, str(body["instance"]))
        except KeyError as error:
            raise ControlError(f"{error.args[0]}", 404) from None
