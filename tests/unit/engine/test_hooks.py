# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks: which events reach a program, how many wait, and that a program that fails or hangs holds up nothing."""

from __future__ import annotations

import ast
import asyncio
import json
import threading
from pathlib import Path

import pytest

import nat_failover
from nat_failover.act import actions
from nat_failover.errors import ConfigError
from nat_failover.hooks import process, settings
from nat_failover.hooks.follower import Follower
from nat_failover.hooks.waiting import SAME_WITHIN, WAITING, Waiting
from nat_failover.model.cluster import AddressView, RouteView
from nat_failover.model.memory import Memory
from nat_failover.model.plan import Plan, SetAddress, SetRoute
from nat_failover.policy import ownership
from nat_failover.service.status_socket import StatusSocket

from .standing import CLAIM_B, NOW, standing

CHAT = {"name": "chat", "run": ["/opt/hooks/chat", "--room", "ops"]}


# --- settings -------------------------------------------------------------------------------------------------------


def test_a_hook_that_names_no_events_gets_the_usual_ones():
    [hook] = settings.parse_all([CHAT], "hooks")
    assert (hook.name, hook.run, hook.timeout) == ("chat", ("/opt/hooks/chat", "--room", "ops"), 10.0)
    assert hook.events == set(settings.USUAL) < set(settings.KINDS)
    assert settings.parse(json.loads(hook.text()), "--hook") == hook


def emit_calls():
    """(file, first argument) of each call of ``emit`` in the service."""
    for path in Path(nat_failover.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(node, "func", None)
            if getattr(called, "attr", getattr(called, "id", "")).strip("_") == "emit":
                first = node.args[0]
                yield from (
                    (path.name, each)
                    for each in ([first.body, first.orelse] if isinstance(first, ast.IfExp) else [first])
                )


def kinds_of_changed_routes():
    for rule in ownership.RULES:
        if rule.kind:
            wanted = SetRoute(CLAIM_B, "eni-a", "nat-a", RouteView("active", "eni-b", NOW), rule.kind, "x")
            yield actions.route_action(wanted).kind


def kinds_of_writes():
    """The events of a write that shows no effect: the first word of its key. The address also names its success."""
    route = SetRoute(CLAIM_B, "eni-a", "nat-a", RouteView("active", "eni-b", NOW), "adopt", "x")
    address = SetAddress("nat-b", "eipalloc-b", "eni-a", "10.0.0.21", AddressView("203.0.113.11", None, None, NOW), "x")
    made = actions.route_action(route), actions.address_action(address, {})
    assert made[1].kind == made[1].key[0]
    return [action.key[0] for action in made]


def kinds_of_lines_that_stand():
    """The events of each line of a plan that begins and ends."""
    log = standing().events
    wanted = SetRoute(CLAIM_B, "eni-a", "nat-a", RouteView("active", "eni-b", NOW), "adopt", "x")
    plan = Plan(withheld=(wanted,), forbidden="mode is observe", warnings={"w": "warned"}, drift={"d": "drifted"})
    for each in (plan, Plan()):
        log.follow(Memory(NOW), Memory(NOW), each, NOW, 1.0)
    return [event["kind"] for event in log.events]


def test_the_kinds_are_those_that_the_service_emits():
    calls = list(emit_calls())
    written = {first.value for _file, first in calls if isinstance(first, ast.Constant)}
    computed = sorted((file, ast.unparse(first)) for file, first in calls if not isinstance(first, ast.Constant))
    assert computed == [
        ("events.py", "f'{kind}_ended'"),
        ("events.py", "kind"),
        ("executor.py", "action.key[0]"),
        ("executor.py", "action.kind"),
        ("history_file.py", "record"),  # a log handler's
        ("journal_socket.py", "record"),
    ], "a further kind that is computed: count it here, too"
    emitted = written | {*kinds_of_changed_routes(), *kinds_of_lines_that_stand(), *kinds_of_writes()}
    assert sorted(settings.KINDS) == sorted(emitted)
    assert {"adopt", "return", "mend", "warning", "warning_ended"} <= emitted


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ({"name": ""}, "hooks[0].name", ""),
        ({"name": "a b"}, "hooks[0].name", "a b"),
        ({"run": []}, "hooks[0].run", []),
        ({"run": "/opt/chat"}, "hooks[0].run", "/opt/chat"),
        ({"run": ["chat"]}, "hooks[0].run", "chat"),
        ({"run": ["./chat"]}, "hooks[0].run", "./chat"),
        ({"run": ["/opt/../etc/chat"]}, "hooks[0].run", "/opt/../etc/chat"),
        ({"run": ["/root/chat"]}, "hooks[0].run", "/root/chat"),
        ({"run": ["/home/ops/chat"]}, "hooks[0].run", "/home/ops/chat"),
        ({"run": ["/opt/chat", ""]}, "hooks[0].run", ["/opt/chat", ""]),
        ({"events": []}, "hooks[0].events", []),
        ({"events": ["failover"]}, "hooks[0].events", "failover"),
        ({"timeout_s": 0}, "hooks[0].timeout_s", 0),
        ({"timeout_s": 301}, "hooks[0].timeout_s", 301),
        ({"timeout_s": True}, "hooks[0].timeout_s", True),
        ({"shell": True}, "hooks[0].shell", None),
    ],
)
def test_a_hook_that_does_not_fit_is_refused_in_one_line(given, key, value):
    with pytest.raises(ConfigError) as refusal:
        settings.parse_all([{**CHAT, **given}], "hooks")
    assert (refusal.value.key, refusal.value.value) == (key, value)
    assert "\n" not in str(refusal.value)


def test_two_hooks_of_one_name_and_too_many_hooks_are_refused():
    for given in ([CHAT, CHAT], [{**CHAT, "name": f"h{n}"} for n in range(settings.MOST + 1)]):
        with pytest.raises(ConfigError):
            settings.parse_all(given, "hooks")


# --- the events that wait -------------------------------------------------------------------------------------------


def event(kind="adopt", **more):
    return {"kind": kind, "text": "x", **more}


def test_only_the_wanted_kinds_wait_in_their_order():
    waiting = Waiting({"adopt", "fence"})
    assert [waiting.add(event(kind), 0.0) for kind in ("adopt", "late", "fence")] == [True, False, True]
    assert [waiting.next()["kind"], waiting.next()["kind"], waiting.next()] == ["adopt", "fence", None]


def test_a_repetition_does_not_wait_and_one_with_another_subject_does():
    waiting = Waiting({"adopt"})
    assert waiting.add(event(route_table="rtb-1"), 0.0)
    assert not waiting.add(event(route_table="rtb-1"), SAME_WITHIN - 1)
    assert waiting.add(event(route_table="rtb-2"), 1.0)
    assert waiting.add(event(route_table="rtb-1"), SAME_WITHIN + 1)
    assert (len(waiting), waiting.repeated) == (3, 1)


def test_the_oldest_events_make_room_and_are_counted():
    waiting = Waiting({"adopt"})
    for number in range(WAITING + 7):
        waiting.add(event(text=str(number)), 0.0)
    assert (len(waiting), waiting.dropped, waiting.next()["text"]) == (WAITING, 7, "7")


# --- the events of the service --------------------------------------------------------------------------------------


def following(tmp_path, work):
    """``work(follower, parts)`` with a service that serves its socket."""

    parts = standing()
    parts.events.emit("started", "before")

    async def scenario():
        readers = StatusSocket(str(tmp_path), parts)
        await readers.open()
        try:
            return await work(Follower(str(tmp_path / "status.sock")), parts)
        finally:
            readers.close()

    return asyncio.run(scenario())


def test_the_past_is_no_news_and_each_event_comes_once(tmp_path):
    async def work(follower, parts):
        found = [await follower.read()]
        parts.events.emit("adopt", "rtb-0000000b", route_table="rtb-0000000b")
        found += [await follower.read(), await follower.read()]
        return [[(each["kind"], each["node"], each["seq"]) for each in news] for news in found]

    assert following(tmp_path, work) == [[], [("adopt", "nat-a", 2)], []]


def test_all_events_of_a_service_that_was_restarted_are_news(tmp_path):
    async def work(follower, parts):
        for _each in range(5):
            parts.events.emit("late", "x")
        await follower.read()
        parts.boot_id, parts.events.last = "fedcba9876543210", 0
        parts.events.events.clear()
        parts.events.emit("started", "again")
        return [(each["kind"], each["boot_id"]) for each in await follower.read()]

    assert following(tmp_path, work) == [("started", "fedcba9876543210")]


def test_events_that_the_service_forgot_are_counted(tmp_path):
    async def work(follower, parts):
        await follower.read()
        for _each in range(205):
            parts.events.emit("late", "x")
        return len(await follower.read()), follower.missed

    assert following(tmp_path, work) == (200, 5)


def test_without_a_service_there_is_no_news_and_the_next_one_is_read(tmp_path):
    assert asyncio.run(Follower(str(tmp_path / "nowhere.sock")).read()) == []


# --- programs -------------------------------------------------------------------------------------------------------


class Programs:
    """Stands in for the programs: keeps what each got, and ends as it is told."""

    def __init__(self, *codes):
        self.calls, self.codes = [], list(codes)
        self.hang = threading.Event()

    def __call__(self, argv, *, timeout, stdin):
        self.calls.append((argv, timeout, json.loads(stdin)))
        if argv[0] == "/opt/hooks/hangs":
            self.hang.wait(10)
            return 124, "", f"no end within {timeout} s"
        return (self.codes.pop(0) if self.codes else 0), "done\n", ""


def play(programs, hooks, events, until):
    async def scenario():
        made = process.Hooks(settings.parse_all(hooks, "hooks"), "/nowhere", programs)
        life = asyncio.ensure_future(made.live())
        await asyncio.sleep(0)
        for each in events:
            made.take(each)
        for _each in range(500):
            if until():
                break
            await asyncio.sleep(0.01)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        programs.hang.set()

    asyncio.run(scenario())


def test_a_program_gets_the_event_on_its_standard_input():
    programs = Programs()
    adopted = event(seq=7, at=1700000000.5, cluster="prod", node="nat-a", route_table="rtb-1", owner="nat-a")
    play(programs, [{**CHAT, "timeout_s": 3}], [adopted], lambda: programs.calls)
    [(argv, timeout, got)] = programs.calls
    assert (argv, timeout) == (["/opt/hooks/chat", "--room", "ops"], 3.0)
    assert got == {"schema": 1, "hook": "chat", **adopted}


def test_a_program_that_hangs_holds_up_no_other():
    programs = Programs()
    hooks = [{"name": "slow", "run": ["/opt/hooks/hangs"]}, CHAT]
    events = [event(text=str(number)) for number in range(3)]
    play(
        programs, hooks, events, lambda: sum(argv[0] == "/opt/hooks/chat" for argv, _limit, _got in programs.calls) == 3
    )
    assert [got["text"] for argv, _limit, got in programs.calls if argv[0] == "/opt/hooks/chat"] == ["0", "1", "2"]
    assert sum(argv[0] == "/opt/hooks/hangs" for argv, _limit, _got in programs.calls) == 1


@pytest.mark.parametrize(
    ("codes", "calls"),
    [((0,), 1), ((1,), 1), ((124,), 1), ((75, 0), 2), ((75, 75, 75, 0), 3)],
)
def test_only_a_program_that_asks_for_it_is_run_again(monkeypatch, codes, calls):
    monkeypatch.setattr(process, "PAUSE", 0.0)
    programs = Programs(*codes)
    other = event("fence")
    play(programs, [CHAT], [event(), other], lambda: programs.calls and programs.calls[-1][2]["kind"] == "fence")
    assert len([got for _argv, _limit, got in programs.calls if got["kind"] == "adopt"]) == calls


def test_the_output_of_a_program_is_plain_and_short_in_the_journal(caplog):
    def loud(argv, *, timeout, stdin):
        return 1, "a\x1b[2Jb\n" + "x" * 9000, ""

    loud.hang = threading.Event()
    with caplog.at_level("INFO", "nat-failover"):
        play(loud, [CHAT], [event(seq=3)], lambda: caplog.records)
    [record] = caplog.records
    assert "event 3 (adopt), attempt 1: exit code 1: a?[2Jb xxx" in record.getMessage()
    assert len(record.getMessage()) < process.SHOWN + 100
