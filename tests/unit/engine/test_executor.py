# SPDX-License-Identifier: GPL-3.0-or-later
"""The executor's writes, its later readings, and the number of its tries."""

from __future__ import annotations

import asyncio
import types
from dataclasses import replace

import pytest

from nat_failover.act.executor import BACKOFF_MOST, Executor
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import ROUTE_ACTIVE, TAG_FENCE, AddressView, Claim, InstanceView, RouteView
from nat_failover.model.plan import LOCK_STEPS, FenceStep, Plan, SetAddress, SetRoute
from nat_failover.runtime.real import AsyncioRuntime
from nat_failover.wire.seals import Seals

CLAIM = Claim("rtb-1", "0.0.0.0/0", "nat-b")
OLD = RouteView(ROUTE_ACTIVE, "eni-b", 1.0)
ADOPT = SetRoute(CLAIM, "eni-a", "nat-a", OLD, "adopt", "adopt rtb-1: nat-b is failed")

WALL_TIME = 1_800_000_000.0
SEALS = Seals((b"k" * 32,), "prod")


def marked(stage):
    """The mark that this node writes on its peer."""
    return SEALS.mark("nat-b", "i-b", "nat-a", stage, WALL_TIME)


class Runtime(AsyncioRuntime):
    """A clock that a test moves on. Calls are made at once."""

    def __init__(self):
        super().__init__()
        self.seconds = 100.0

    def now(self):
        return self.seconds

    @staticmethod
    def wall_time():
        return WALL_TIME

    @staticmethod
    def pool(name, workers):
        return Pool()


class Pool:
    def run(self, function, *arguments):
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self):
        pass


class Cloud:
    """EC2 as the executor calls it, and the evidence of its readings. ``fails``: method -> the code of its failure."""

    def __init__(self, runtime, **fails):
        self.runtime, self.fails = runtime, fails
        self.written, self.applies, self.answers = [], True, True
        self.action_of = ""  # the AWS action that a failure names
        self.target = "eni-b"
        self.elastic = AddressView("203.0.113.11", "eni-b", "10.0.1.20", 0.0)
        self.view = InstanceView("running", "eni-b", "10.0.1.10", {}, 99.0, instance_id="i-b")
        self.instances = {"nat-b": self.view}

    def _write(self, name, *arguments):
        self.written.append((name, *arguments))
        self.runtime.seconds += 0.0625
        if name in self.fails:
            raise Ec2Error(f"ec2:{self.action_of or name}", "it", self.fails[name], "no", retryable=True)

    def write_route(self, claim, interface_id):
        self.target = interface_id if self.applies else self.target
        self._write("write_route", claim.route_table)

    def describe_routes(self, claims):
        if "describe_routes" in self.fails:
            raise Ec2Error("ec2:DescribeRouteTables", "it", self.fails["describe_routes"], "no", retryable=True)
        return {claim: RouteView(ROUTE_ACTIVE, self.target, self.runtime.seconds) for claim in claims}

    def associate_address(self, allocation, interface_id, private):
        if self.applies:
            self.elastic = AddressView("203.0.113.11", interface_id, private, 0.0)
        self._write("associate_address", allocation)

    def describe_addresses(self, allocations):
        return dict.fromkeys(allocations, self.elastic)

    def note_addresses(self, views):
        self.noted = views

    def _tag(self, key, value):
        tags = {name: old for name, old in self.view.tags.items() if name != key}
        if value is not None:
            tags[key] = value
        self._become(tags=tags)

    def _become(self, **changes):
        if self.applies:
            self.view = replace(self.view, **changes)

    def set_tag(self, instance, key, value):
        self._tag(key, value)
        self._write("set_tag", instance, key, value)

    def delete_tag(self, instance, key):
        self._tag(key, None)
        self._write("delete_tag", instance, key)

    def stop(self, instance, force=False):
        self._become(state="stopping")
        self._write("stop", instance, force)

    def start(self, instance):
        self._become(state="pending")
        self._write("start", instance)

    def reboot(self, instance):
        self._write("reboot", instance)

    # the collector

    def note_route(self, claim, view):
        self.noted = view

    def note_ec2(self, *arguments):
        pass

    async def read_since(self, moment):
        self.runtime.seconds += 0.1
        if self.answers:
            self.instances = {"nat-b": replace(self.view, read_at=self.runtime.seconds)}

    # the witness table

    async def carry_out(self, step):
        self.written.append((step.step,))
        return "lock" not in self.fails


def carry_out(cloud, *plans, between=lambda: None, between_decision_and_act=lambda: None):
    """Carry out plans one after the other, skipping what is busy, as the policy does. Returns the events."""
    events = []
    runtime = cloud.runtime

    async def run():
        executor = Executor(
            types.SimpleNamespace(self_name="nat-a"),
            runtime,
            cloud,
            cloud,
            cloud,
            None,
            SEALS,
            lambda: None,
            lambda kind, text, *level, **more: events.append((kind, text, more)),
        )
        try:
            for plan in plans:
                busy = executor.busy(runtime.seconds)
                left = Plan(
                    routes=tuple(each for each in plan.routes if each.key not in busy),
                    addresses=tuple(each for each in plan.addresses if each.key not in busy),
                    fence=tuple(each for each in plan.fence if each.key not in busy),
                )
                between_decision_and_act()
                executor.carry_out(left, busy)
                while executor._tasks:
                    await asyncio.sleep(0)
                between()
            return executor
        finally:
            executor.close()

    cloud.executor = asyncio.run(run())
    return events


def fence(cloud, step, expects=""):
    return carry_out(cloud, Plan(fence=(FenceStep(step, "nat-b", "i-b", f"{step} nat-b: it is failed", expects),)))


@pytest.fixture
def cloud():
    return Cloud(Runtime())


# --- routes ----------------------------------------------------------------------------------------------------------


def test_a_route_is_written_read_again_and_reported(cloud):
    [(kind, text, more)] = carry_out(cloud, Plan(routes=(ADOPT,)))
    assert cloud.written == [("write_route", "rtb-1")] and cloud.noted.target == "eni-a"
    assert kind == "adopt" and text == "rtb-1: nat-b is failed; done in 62 ms"
    assert more == {"route_table": "rtb-1", "action": "adopt", "ms": 62.5}
    assert cloud.executor.replaced == {CLAIM: OLD}


def test_writes_back_off_while_ec2_still_shows_the_old_target(cloud):
    """An answer that says yes is no proof (L9): a route that EC2 does not show is not hammered."""
    cloud.applies = False

    def tick():
        cloud.runtime.seconds += 0.1

    events = carry_out(cloud, *[Plan(routes=(ADOPT,))] * 600, between=tick)  # a minute of decisions
    assert 5 <= len(cloud.written) <= 6 + 60 / (BACKOFF_MOST / 2)
    assert len(events) == 1 and cloud.executor.replaced == {}, "the same obstacle again is no news"
    [(refusal, next_at)] = cloud.executor.refused()
    assert refusal.attempts == len(cloud.written) and next_at > refusal.last_at
    assert events[0][1] == (
        "adopt rtb-1: nat-b is failed; route rtb-1 0.0.0.0/0 still targets eni-b (active) 62 ms after the write; retrying"
    )


def test_a_failure_goes_on_when_its_pause_ends_between_a_decision_and_its_actions(cloud):
    """The plan could not contain the key: that it does not is no sign that nothing wants it any more."""
    cloud.fails["write_route"] = "UnauthorizedOperation"

    def slow_decision():
        cloud.runtime.seconds += 60

    events = carry_out(cloud, *[Plan(routes=(ADOPT,))] * 4, between_decision_and_act=slow_decision)
    assert [kind for kind, _text, _more in events] == ["failed"]
    [(refusal, _next_at)] = cloud.executor.refused()
    assert refusal.attempts == len(cloud.written) == 2


def test_a_route_that_fails_again_and_again_backs_off_and_then_is_tried_at_once(cloud):
    cloud.fails["write_route"] = "InternalError"
    carry_out(cloud, *[Plan(routes=(ADOPT,))] * 20)
    assert len(cloud.written) == 1
    cloud.written.clear()
    cloud.fails.clear()
    carry_out(cloud, *[Plan(routes=(ADOPT,))] * 3)
    assert len(cloud.written) == 3, "a success leaves no back-off behind"


@pytest.mark.parametrize("code", ["Timeout", "EndpointUnreachable", "BadAnswer"])
def test_a_write_whose_answer_was_lost_is_done_if_the_reading_shows_it(cloud, code):
    cloud.fails["write_route"] = code
    [(kind, text, _more)] = carry_out(cloud, Plan(routes=(ADOPT,)))
    assert kind == "adopt" and "done in" in text and len(cloud.written) == 1


def test_when_the_reading_fails_too_the_failure_of_the_write_is_reported(cloud):
    cloud.fails.update(write_route="Timeout", describe_routes="RequestLimitExceeded")
    [(kind, text, _more)] = carry_out(cloud, Plan(routes=(ADOPT,)))
    assert kind == "failed" and "ec2:write_route" in text and "(Timeout)" in text


def test_throttling_is_reported_once_until_a_success(cloud):
    routes = tuple(
        SetRoute(Claim(f"rtb-{n}", "0.0.0.0/0", "nat-b"), "eni-a", "nat-a", OLD, "adopt", "x") for n in range(5)
    )
    cloud.fails["write_route"] = "RequestLimitExceeded"
    [(kind, text, _more)] = carry_out(cloud, Plan(routes=routes))
    assert kind == "failed" and text.endswith("throttled writes are tried again at the pace that EC2 allows")
    assert cloud.executor.busy(0.0) == {route.key for route in routes}


def test_a_defect_in_one_action_does_not_end_the_others(cloud, caplog):
    other = SetRoute(Claim("rtb-2", "0.0.0.0/0", "nat-b"), "eni-a", "nat-a", OLD, "adopt", "adopt rtb-2")
    write = cloud.write_route
    cloud.write_route = lambda claim, interface: write(claim, interface) if claim != CLAIM else claim.no_such_name
    events = carry_out(cloud, Plan(routes=(ADOPT, other)))
    assert sorted(kind for kind, _text, _more in events) == ["adopt", "failed"]
    assert any("unexpected AttributeError" in text for _kind, text, _more in events)


# --- fences ----------------------------------------------------------------------------------------------------------


def test_a_node_that_nobody_fences_is_marked(cloud):
    fence(cloud, "mark")
    assert cloud.written == [("set_tag", "i-b", TAG_FENCE, marked("stop"))]
    assert cloud.executor.busy(cloud.runtime.seconds) == frozenset()


@pytest.mark.parametrize(
    ("tags", "state", "answers", "obstacle"),
    [
        ({TAG_FENCE: "nat-c:started"}, "running", True, "nat-c:started"),
        ({}, "stopping", True, "EC2 shows stopping"),
        ({}, "running", False, "EC2 was not read"),
    ],
)
def test_a_node_that_a_peer_has_begun_to_fence_is_not_marked(cloud, tags, state, answers, obstacle):
    """The plan rests on a reading that may be a second old, and two nodes may want the same in that time (L3)."""
    cloud._become(tags=tags, state=state)
    cloud.answers = answers
    events = fence(cloud, "mark")
    assert cloud.written == [] and obstacle in events[-1][1]
    assert cloud.executor.busy(cloud.runtime.seconds) == {("fence", "nat-b")}, "and it backs off"


def test_a_node_that_was_replaced_meanwhile_is_not_marked(cloud):
    cloud._become(instance_id="i-new")
    events = fence(cloud, "mark")
    assert cloud.written == [] and "another instance than i-b" in events[-1][1]


@pytest.mark.parametrize(
    ("step", "written"),
    [
        ("stop", [("stop", "i-b", False)]),
        ("force_stop", [("stop", "i-b", True)]),
        ("start", [("start", "i-b"), ("set_tag", "i-b", TAG_FENCE, marked("started"))]),
        ("reboot", [("reboot", "i-b"), ("set_tag", "i-b", TAG_FENCE, marked("started"))]),
        ("unmark", [("delete_tag", "i-b", TAG_FENCE)]),
    ],
)
def test_a_step_of_a_fence_is_written_and_read_again(cloud, step, written):
    [(kind, text, more)] = fence(cloud, step)
    assert cloud.written == written
    assert (kind, text, more) == ("fence", f"{step} nat-b: it is failed", {"peer": "nat-b", "step": step})
    assert cloud.instances["nat-b"].read_at > 100.0, "the next decision rests on a newer reading"
    assert cloud.executor.busy(cloud.runtime.seconds) == frozenset()


@pytest.mark.parametrize("step", ["mark", "stop", "force_stop", "start", "unmark"])
def test_a_step_of_a_fence_that_ec2_does_not_show_backs_off(cloud, step):
    cloud._become(state="stopped" if step == "start" else "running", tags={TAG_FENCE: "x"} if step != "mark" else {})
    cloud.applies = False
    events = fence(cloud, step)
    assert cloud.executor.busy(cloud.runtime.seconds) == {("fence", "nat-b")}
    assert events[-1][1].startswith(f"{step} nat-b: ") and len(events) == 2


@pytest.mark.parametrize(("step", "call"), [("stop", "stop"), ("start", "start"), ("unmark", "delete_tag")])
def test_a_step_of_a_fence_whose_answer_was_lost_is_done_if_the_reading_shows_it(cloud, step, call):
    cloud.fails[call] = "Timeout"
    [(kind, _text, _more)] = fence(cloud, step)
    assert kind == "fence" and cloud.executor.busy(cloud.runtime.seconds) == frozenset()


def test_a_reboot_whose_answer_was_lost_is_a_failure(cloud):
    cloud.fails["reboot"] = "Timeout"
    events = fence(cloud, "reboot")
    assert events[-1][0] == "failed" and cloud.written == [("reboot", "i-b")], "and the tag does not claim it"


@pytest.mark.parametrize("step", LOCK_STEPS)
def test_a_lock_that_another_node_took_first_is_not_taken(cloud, step):
    cloud.fails["lock"] = "taken"
    events = fence(cloud, step)
    assert cloud.executor.busy(cloud.runtime.seconds) == {("lock",)}
    assert [text for _kind, text, _more in events] == (
        [] if step == "renew" else [f"{step} nat-b: it is failed; another node was first"]
    )


def test_a_lock_that_is_taken_is_reported(cloud):
    assert [text for _kind, text, _more in fence(cloud, "lock")] == ["lock nat-b: it is failed"]


def test_a_refusal_is_one_line_for_one_reason_and_has_an_end(cloud):
    cloud.fails["write_route"] = "UnauthorizedOperation"

    def pass_time():
        cloud.runtime.seconds += 0.1
        if len(cloud.written) == 5:
            cloud.fails["write_route"] = "InternalError"
        if len(cloud.written) == 7:
            cloud.fails.clear()

    events = carry_out(cloud, *[Plan(routes=(ADOPT,))] * 900, between=pass_time)
    assert [kind for kind, _text, _more in events[:4]] == ["failed", "failed", "adopt", "failed_ended"]
    assert [more.get("code") for _kind, _text, more in events[:2]] == ["UnauthorizedOperation", "InternalError"]
    assert events[3][1] == "route rtb-1 0.0.0.0/0: done after 7 failed attempts"
    assert cloud.executor.refused() == []


def test_a_refusal_of_what_nothing_wants_any_more_has_an_end_too(cloud):
    cloud.fails["write_route"] = "UnauthorizedOperation"

    def pass_time():
        cloud.runtime.seconds += 1.0

    events = carry_out(cloud, Plan(routes=(ADOPT,)), *[Plan()] * 20, between=pass_time)
    assert [kind for kind, _text, _more in events] == ["failed", "failed_ended"]
    assert events[1][1] == "route rtb-1 0.0.0.0/0: not wanted any more, after 1 failed attempts"
    assert events[1][2]["attempts"] == 1 and cloud.executor.refused() == []


# --- refusals that last ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["stop", "force_stop", "reboot"])
@pytest.mark.parametrize("code", ["UnsupportedOperation", "OperationNotPermitted", "UnsupportedNew", "NeverSeenBefore"])
def test_a_step_that_ec2_does_not_take_on_an_instance_is_evidence(cloud, step, code):
    call = "reboot" if step == "reboot" else "stop"
    cloud.fails[call] = code
    cloud.action_of = {"stop": "StopInstances", "reboot": "RebootInstances"}[call]
    events = fence(cloud, step)
    assert [kind for kind, _text, _more in events] == ["fence", "failed"]
    [(key, why)] = cloud.executor.unfit(cloud.runtime.seconds).items()
    assert key == (step, "i-b") and code in why
    assert cloud.executor.unfit(cloud.runtime.seconds + 3600) == {}, "an operator may have corrected the cause"


@pytest.mark.parametrize(
    ("step", "call", "action", "code"),
    [
        ("stop", "stop", "StopInstances", "RequestLimitExceeded"),
        ("stop", "stop", "StopInstances", "Timeout"),
        ("stop", "stop", "StopInstances", "IncorrectInstanceState"),
        ("stop", "stop", "StopInstances", "UnauthorizedOperation"),
        ("start", "start", "StartInstances", "UnsupportedOperation"),
        ("mark", "set_tag", "CreateTags", "TagPolicyViolation"),
        ("reboot", "set_tag", "CreateTags", "UnsupportedOperation"),
    ],
)
def test_a_failure_of_another_kind_is_no_evidence_about_the_instance(cloud, step, call, action, code):
    cloud.fails[call] = code
    cloud.action_of = action
    cloud.applies = call != "stop"
    fence(cloud, step)
    assert cloud.executor.unfit(cloud.runtime.seconds) == {}


def test_a_mark_that_is_refused_for_good_is_not_repeated_soon(cloud):
    cloud.fails["set_tag"] = "TagLimitExceeded"

    def tick():
        cloud.runtime.seconds += 0.1

    plan = Plan(fence=(FenceStep("mark", "nat-b", "i-b", "mark nat-b: it is failed"),))
    cloud._tag = lambda key, value: None
    carry_out(cloud, *[plan] * 600, between=tick)  # a minute of decisions
    assert 2 <= sum(call == "set_tag" for call, *_rest in cloud.written) <= 5


# --- the flare -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "unseen"),
    [
        ([""], [""]),
        (["TagLimitExceeded"], ["TagLimitExceeded"]),
        (["UnauthorizedOperation", "", "TagPolicyViolation"], ["UnauthorizedOperation", "", "TagPolicyViolation"]),
        (["Timeout"] * 2, []),
        (["Timeout"] * 3, ["Timeout"]),
        (["InternalError"] * 2 + [""] + ["InternalError"] * 2, [""]),
    ],
)
def test_a_node_knows_that_its_flare_cannot_be_written(cloud, codes, unseen):
    noted = []
    cloud.note_unseen = noted.append
    executor = object.__new__(Executor)
    executor._collector = cloud
    failures = 0
    for code in codes:
        failures = executor._note_flare(failures + 1 if code else 0, code, f"refused ({code})" if code else "")
    assert noted == [f"refused ({code})" if code else "" for code in unseen]


# --- Elastic IPs of identities ---------------------------------------------------------------------------------------

MOVE = SetAddress(
    "nat-b", "eipalloc-b", "eni-a", "10.0.0.21", None, "address eipalloc-b of nat-b from nat-b to nat-a: adopt"
)


def test_an_elastic_ip_is_moved_read_again_and_reported(cloud):
    [(kind, text, more)] = carry_out(cloud, Plan(addresses=(MOVE,)))
    assert cloud.written == [("associate_address", "eipalloc-b")] and cloud.noted == {"eipalloc-b": cloud.elastic}
    assert kind == "address" and text == "eipalloc-b of nat-b from nat-b to nat-a: adopt; done in 62 ms"
    assert (more["allocation"], more["identity"]) == ("eipalloc-b", "nat-b")


def test_an_elastic_ip_whose_move_is_not_seen_is_tried_again(cloud):
    cloud.applies = False
    [(kind, text, _more)] = carry_out(cloud, Plan(addresses=(MOVE,)))
    assert kind == "address" and "eipalloc-b is still at eni-b (10.0.1.20) 62 ms after the write; retrying" in text


def test_a_lost_answer_to_the_move_of_an_elastic_ip_is_decided_by_a_reading(cloud):
    cloud.fails["associate_address"] = "Timeout"
    [(kind, text, _more)] = carry_out(cloud, Plan(addresses=(MOVE,)))
    assert kind == "address" and text.endswith("ms")


def test_a_refusal_holds_up_no_route_and_is_not_repeated_soon(cloud):
    cloud.fails["associate_address"] = "UnauthorizedOperation"

    def tick():
        cloud.runtime.seconds += 0.1

    plan = Plan(routes=(ADOPT,), addresses=(MOVE,))
    events = carry_out(cloud, plan, *[Plan(addresses=(MOVE,))] * 100, between=tick)  # ten seconds of decisions
    assert sorted(kind for kind, _text, _more in events) == ["adopt", "failed"]
    assert cloud.written.count(("associate_address", "eipalloc-b")) == 1
