# SPDX-License-Identifier: GPL-3.0-or-later
"""The API as HTTP: a call is authorised, checked, faulted, answered by moto and logged."""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from . import addresses, backend, checks, pages
from .authorize import authorize
from .calls import Call, CallLog, now, relevant
from .control import Control, ControlError
from .errors import Answer, ApiError
from .faults import Effect
from .httpd import DropConnection, HttpServer, call_wsgi, status_line
from .power import ACTIONS as POWER_ACTIONS
from .request import ApiRequest
from .state import State
from .turns import Turns

log = logging.getLogger(__name__)

# Between two threads that have work. By default an answer waits 5 ms for each reading that another one needs.
SWITCH_S = 0.0005
LOOPBACK = ("127.", "::1", "::ffff:127.")


class Api(State):
    """One lab's API as HTTP. Every AWS call passes here on its way to moto, under one lock.

    ``call_log`` is the file that each call is appended to. ``control`` serves ``/_lab/<word>`` beside the API's own controls.
    """

    def __init__(
        self,
        *,
        call_log: Path,
        control: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None,
        **state: Any,
    ) -> None:
        super().__init__(**state)
        self.own_control = Control(self)
        self._control = control
        self._log = CallLog(call_log)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._moto_ec2: Any = None
        self._http = HttpServer(self, "lab-api")
        self._turns = Turns()

    def start(self, sockets: Iterable[socket.socket]) -> None:
        """Serve on sockets that are bound and listening already. The API owns them from now on."""
        sys.setswitchinterval(SWITCH_S)
        for listener in sockets:
            self._http.serve(listener)
        self.checks.start()

    def stop(self) -> None:
        """Close all sockets and end all transitions."""
        self._http.stop()
        self.power.close()
        self.associations.close()
        self.checks.close()
        self._log.close()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI."""
        path = environ["PATH_INFO"]
        if path.startswith("/_lab/"):
            answer = self._lab(environ, path[len("/_lab/") :])
        elif path.startswith("/moto-api"):
            answer = Answer(
                404, b"moto's own control would bypass the lab; see /_lab/api\n"
            )  # its reset forgets the recorded history
        else:
            answer = self._serve(ApiRequest.parse(environ, self.region))
        start_response(status_line(answer.status), answer.headers)
        return [answer.body]

    def _serve(self, request: ApiRequest) -> Answer:
        received = time.monotonic()
        with self.lock:
            caller = self.identity.caller(request.access_key)
        effect = self.faults.hit(request.action, caller, request.access_key)
        time.sleep(effect.delay_s)  # outside the lock: a slow call must not slow the others
        with self._turns.turn(request.reads), self.lock:
            answer = self._decide(request, effect)
            self._write(request, caller, received, effect, answer)
        time.sleep(effect.delay_after_s)
        if answer is None or effect.drop == "after":
            raise DropConnection
        return answer

    def _decide(self, request: ApiRequest, effect: Effect) -> Answer | None:
        """The answer; None for a call that is dropped unapplied."""
        if effect.drop == "before":
            return None
        if effect.body is not None:
            return Answer(effect.status or 502, effect.body.encode(), [("Content-Type", "text/html")], "raw")
        try:
            if effect.error is not None:
                raise ApiError(effect.error, effect.message, effect.status)
            principal = self.identity.authenticate(request) if self.enforce_iam else None
            if principal is not None:
                authorize(backend.ec2(self.identity.account(request.access_key), self.region), principal, request)
            return self._apply(request, effect)
        except ApiError as error:
            return error.answer(request.service)
        except Exception:
            # AWS never answers HTML, so neither does the lab: what moto cannot do is an internal error.
            log.exception("%s %s", request.service, request.action)
            return ApiError("InternalError", "An internal error has occurred (of the lab; see its log)").answer(
                request.service
            )

    def _apply(self, request: ApiRequest, effect: Effect) -> Answer:
        model = self.model
        # Elsewhere there is no kernel that follows, and moto as it is will do.
        here = request.region == self.region and self.identity.account(request.access_key) == self.account
        if request.service == "ec2" and here:
            checks.check(model, request)
        if request.dry_run:
            raise ApiError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
        if effect.page_items and request.service == "ec2" and request.reads:
            first = pages.start(request)
            answer = self._read(request, effect, here)
            body = pages.cut(request, answer.body, first, effect.page_items) if answer.status < 300 else answer.body
            return replace(answer, body=body)
        if request.reads:
            return self._read(request, effect, here)
        if request.service == "ec2" and here and request.action in POWER_ACTIONS:
            answer = self.power.handle(model, request)
        elif request.service == "ec2" and here and request.action in addresses.ACTIONS:
            answer = addresses.handle(model, request)
        else:
            known = (
                {instance.id for instance in backend.instances(model)} if request.action == "RunInstances" else set()
            )
            answer = self._call_moto(request)
            if answer.status < 300 and here:
                self._follow_up(request, known)
        if not request.reads and answer.status < 300:
            self.changed()
        return answer

    def _read(self, request: ApiRequest, effect: Effect, here: bool) -> Answer:
        """A reading, of now or of a while ago."""
        if not (effect.stale_s and here):
            return self._call_moto(request)
        with self.history.as_of(self.model, effect.stale_s):
            return self._call_moto(request)

    def _call_moto(self, request: ApiRequest) -> Answer:
        request.rewind()
        request.environ["HTTP_X_MOTO_ACCOUNT_ID"] = self.identity.account(request.access_key)
        app: Any = self._moto
        if request.service == "ec2":
            # Finding the service again for each call costs moto a sixth of the call.
            app = self._moto_ec2 = self._moto_ec2 or self._moto.get_application(request.environ)
        status, headers, body = call_wsgi(app, request.environ)
        code = int(status.split()[0])
        return Answer(code, body, headers, _error_code(body) if code >= 300 else None)

    def _follow_up(self, request: ApiRequest, known: set[str]) -> None:
        """Effects that moto has at once and AWS in time, or that moto forgets."""
        if request.action == "RunInstances":
            for instance in backend.instances(self.model):
                if instance.id not in known:
                    self.power.launched(instance)
        elif request.action == "DeleteNatGateway":
            addresses.deleted_nat_gateway(self.model, str(request.get("NatGatewayId")))
        elif request.action == "TerminateInstances":
            for instance_id in request.members("InstanceId"):
                self.power.terminated(backend.find_instance(self.model, instance_id))

    def _write(self, request: ApiRequest, caller: str, received: float, effect: Effect, answer: Answer | None) -> None:
        monotonic, wall = now()
        self._log.append(
            Call(
                monotonic,
                wall,
                received,
                caller,
                request.access_key,
                request.environ.get("REMOTE_ADDR", ""),
                request.service,
                request.action,
                relevant(request.params),
                answer.status if answer else None,
                answer.error if answer else None,
                effect.rules,
            )
        )

    def _lab(self, environ: dict[str, Any], path: str) -> Answer:
        # Nodes reach the API too; only the operator's side of the machine may steer the lab.
        if not environ["REMOTE_ADDR"].startswith(LOOPBACK):
            return _json(403, {"error": "the lab's control answers on the loopback interface only"})
        try:
            body = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
            if not isinstance(body, dict):
                raise ValueError("the body must be a JSON object")
            if path == "api" or path.startswith("api/"):
                return _json(
                    200, self.own_control.handle(environ["REQUEST_METHOD"], path[len("api/") :].strip("/"), body)
                )
            if self._control is None:
                return _json(404, {"error": f"nothing here serves /_lab/{path}"})
            return _json(200, self._control(path, body))
        except ControlError as error:
            return _json(error.status, {"error": str(error)})
        except (ValueError, KeyError, TypeError) as error:
            return _json(400, {"error": f"{type(error).__name__}: {error}"})


def _json(status: int, data: dict[str, Any]) -> Answer:
    return Answer(status, json.dumps(data, default=str).encode() + b"\n", [("Content-Type", "application/json")])


def _error_code(body: bytes) -> str | None:
    text = body.decode("utf-8", "replace")
    if "<Code>" in text:
        return text.partition("<Code>")[2].partition("</Code>")[0]
    try:
        return str(json.loads(text).get("__type", "")).rpartition("#")[2] or None
    except (ValueError, AttributeError):
        return None
