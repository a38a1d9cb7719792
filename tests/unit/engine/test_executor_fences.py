# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of fences and of their lock, as the executor carries them out, and steps that EC2 refuses for good."""

from __future__ import annotations

import pytest

from nat_failover.model.cluster import TAG_FENCE
from nat_failover.model.plan import LOCK_STEPS, FenceStep, Plan

from .executed import Cloud, Runtime, carry_out, fence, marked


@pytest.fixture
def cloud():
    return Cloud(Runtime())


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
