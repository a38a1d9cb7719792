# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in which a health program says whether its service works, and what this node concludes from it."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from nat_failover.errors import NatFailoverError
from nat_failover.host import verdict_file
from nat_failover.host.verdict_file import ServiceVerdict
from nat_failover.observe import service_check
from nat_failover.observe.service_check import BAD_READINGS, Debounce, ServiceCheck, judge

from .played import PlayedRuntime
from .policy_case import make_config
from .service_case import SERVICE, UNWELL, VIP

NOW = 1000.0
BOOT = "11111111-2222-3333-4444-555555555555"
GOOD = {"boot_id": BOOT, "at": 990.5, "well": True, "reason": "a tunnel"}


@pytest.fixture
def file(tmp_path):
    (tmp_path / "boot_id").write_text(BOOT + "\n")
    return tmp_path / "verdict.json"


def read(file):
    return verdict_file.read(str(file), str(file.parent / "boot_id"))


# --- the file -------------------------------------------------------------------------------------------------------


def test_a_verdict_is_read(file):
    file.write_text(json.dumps(GOOD))
    assert read(file) == ServiceVerdict(990.5, True, "a tunnel")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 4000,
        json.dumps({**GOOD, "well": 1}),
        json.dumps({**GOOD, "well": None}),
        json.dumps({**GOOD, "at": "990"}),
        json.dumps({**GOOD, "at": True}),
        json.dumps({**GOOD, "at": 10**400}),
        json.dumps({key: GOOD[key] for key in ("at", "well", "reason")}),
        json.dumps({**GOOD, "reason": "x" * 5000}),
        "\udcff",
    ],
)
def test_a_file_without_a_verdict_is_refused(file, content):
    file.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(NatFailoverError, match="holds no verdict"):
        read(file)


def test_a_file_that_is_no_file_of_this_boot_is_refused(file):
    with pytest.raises(NatFailoverError, match="cannot be read: No such file"):
        read(file)
    file.write_text(json.dumps({**GOOD, "boot_id": "another"}))
    with pytest.raises(NatFailoverError, match="from before the last boot"):
        read(file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(NatFailoverError, match="holds no verdict"):
        read(file)  # it does not wait for a writer
    file.unlink()
    other = file.parent / "other"
    other.write_text(json.dumps(GOOD))
    file.symlink_to(other)
    with pytest.raises(NatFailoverError, match="cannot be read"):
        read(file)


def test_a_host_without_a_boot_id_proves_no_verdict(file):
    file.write_text(json.dumps(GOOD))
    (file.parent / "boot_id").unlink()
    with pytest.raises(NatFailoverError, match="cannot be read: No such file"):
        read(file)


def test_a_long_reason_is_cut(file):
    file.write_text(json.dumps({**GOOD, "reason": "x" * 1000}))
    assert len(read(file).reason) == verdict_file.LONGEST_REASON


# --- the judgement ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "problem"),
    [
        (ServiceVerdict(NOW - 15.0, True, ""), ""),
        (ServiceVerdict(NOW + 1.0, True, ""), ""),
        (ServiceVerdict(NOW - 15.1, True, ""), "/f is 15 s old"),
        (ServiceVerdict(NOW + 30.0, True, ""), "/f is -30 s old"),
        (ServiceVerdict(float("nan"), True, ""), "/f is nan s old"),
        (ServiceVerdict(NOW, False, "says\n503"), "says 503"),
        (ServiceVerdict(NOW, False, ""), "its health program gives no reason"),
    ],
)
def test_a_service_is_well_if_a_young_verdict_says_so(verdict, problem):
    assert judge(lambda file: verdict, "/f", NOW) == problem


def test_a_file_that_cannot_be_read_is_a_problem():
    def refuse(file):
        raise NatFailoverError(f"{file} cannot be read")

    assert judge(refuse, "/f", NOW) == "/f cannot be read"


def test_the_first_reading_counts_at_once_and_later_ones_only_in_a_row():
    debounce = Debounce()
    assert debounce.update({"proxy": "bad", "other": ""}) == {"proxy"}
    assert debounce.update({"proxy": "", "other": "bad"}) == frozenset()
    for _reading in range(BAD_READINGS - 2):
        assert debounce.update({"proxy": "", "other": "bad"}) == frozenset()
    assert debounce.problems == {"other": "bad"}
    assert debounce.update({"proxy": "", "other": "bad"}) == {"other"}
    assert debounce.update({"proxy": ""}) == frozenset()


def test_one_good_reading_begins_the_count_anew():
    debounce = Debounce()
    debounce.update({"proxy": ""})
    for _round in range(5):
        for _reading in range(BAD_READINGS - 1):
            assert debounce.update({"proxy": "bad"}) == frozenset()
        assert debounce.update({"proxy": ""}) == frozenset()


# --- the part of the service ------------------------------------------------------------------------------------------


class Played:
    """A check on a host whose verdicts are a list."""

    def __init__(self, *found):
        self.found, self.changes, self.events, self.rests = list(found), [], [], []
        config = make_config(destinations=["0.0.0.0/0", VIP], services=[SERVICE])
        self.check = ServiceCheck(
            config,
            self,
            PlayedRuntime(NOW),
            self,
            changed=lambda: self.changes.append(self.check.unwell),
            emit=lambda kind, text, level: self.events.append((kind, text)),
        )

    def read_service(self, file):
        assert file == SERVICE["file"]
        return ServiceVerdict(NOW, self.found.pop(0), "no tunnel")

    async def rest(self, seconds):
        self.rests.append(seconds)
        if not self.found:
            raise asyncio.CancelledError

    def run(self):
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(self.check.work())
        return self


def test_a_service_that_dies_and_comes_back_is_told_once_each():
    played = Played(True, *[False] * 6, True)
    assert not played.check.complete
    played.run()
    assert played.check.complete and set(played.rests) == {service_check.READ_EVERY}
    assert played.changes == [frozenset(), UNWELL, frozenset()]
    assert played.events == [
        ("service", "the service proxy does not work: no tunnel"),
        ("service", "the service proxy works again"),
    ]
    assert played.check.facts() == {"service proxy": "well"}


def test_a_service_that_was_dead_at_the_start_is_known_at_once():
    played = Played(False).run()
    assert played.changes == [UNWELL] and played.check.problems == {"proxy": "no tunnel"}


def test_a_node_without_services_has_nothing_to_read():
    played = Played()
    assert not played.check.complete
    played.check.config = make_config()
    assert played.check.complete and played.check.facts() == {}


def test_a_service_that_a_reload_removes_is_no_news_that_it_works():
    played = Played(False).run()
    played.check.config = make_config()
    played.check.check()
    assert played.check.unwell == frozenset() and len(played.events) == 1
    assert played.changes == [UNWELL, frozenset()]
