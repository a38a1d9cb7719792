# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as it ships, put together: what a reload reaches, and what a heartbeat says. No socket is opened, no call is made."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nat_failover.config import load as configuration
from nat_failover.errors import NatFailoverError, PortTaken
from nat_failover.model.settings import Config
from nat_failover.observe.this_host import ThisHost
from nat_failover.service import status
from nat_failover.service.outside import Outside
from nat_failover.service.service import Service

RAW = {
    "cluster": "prod",
    "self": "nat-a",
    "region": "eu-west-1",
    "interface": "lo",
    "key_file": "/nowhere",
    "nodes": [
        {"name": "nat-a", "instance_id": "i-0000000a", "address": "10.0.0.10", "route_tables": ["rtb-0000000a"]},
        {"name": "nat-b", "instance_id": "i-0000000b", "address": "10.0.1.10", "route_tables": ["rtb-0000000b"]},
    ],
}


@pytest.fixture
def files(tmp_path):
    """A configuration file and its key."""
    (tmp_path / "key").write_text("k" * 32 + "\n")
    (tmp_path / "config.json").write_text(json.dumps({**RAW, "key_file": str(tmp_path / "key")}))
    return tmp_path / "config.json"


def made(path):
    """The service of that file, in a running loop; it does not work."""
    config = configuration.load(str(path))
    outside = Outside(ec2=None, host=ThisHost(lambda argv, **_how: (0, "", "")), notify=lambda message: None)
    return Service(config, configuration.load_keys(config.key_file), outside, str(path))


def configurations(thing, seen):
    """Every configuration that is kept anywhere in the engine's objects, with the class that keeps it."""
    if id(thing) in seen or not type(thing).__module__.startswith("nat_failover"):
        return
    seen.add(id(thing))
    for value in vars(thing).values() if hasattr(thing, "__dict__") else ():
        if isinstance(value, Config):
            yield type(thing).__name__, value
        else:
            yield from configurations(value, seen)


def test_a_reload_reaches_every_part_that_keeps_the_configuration(files):
    async def run():
        service = made(files)
        files.write_text(json.dumps({**json.loads(files.read_text()), "mode": "observe"}))
        service.reload()
        return list(configurations(service, set()))

    found = asyncio.run(run())
    assert len(found) >= 5, "the walk no longer finds the parts"
    assert [name for name, config in found if config.mode != "observe"] == []


def test_a_bad_file_changes_nothing_and_is_reported(files):
    async def run():
        service = made(files)
        files.write_text("{")
        service.reload()
        return service

    service = asyncio.run(run())
    assert status.status(service.parts)["settings"]["refused"].startswith("config: is not JSON")
    assert {config.mode for _name, config in configurations(service, set())} == {"full"}
    assert [event["kind"] for event in service.parts.events.events] == ["reload_refused"]


def test_a_reload_names_the_settings_that_need_a_restart(files):
    async def run():
        service = made(files)
        files.write_text(json.dumps({**json.loads(files.read_text()), "region": "eu-west-2", "cluster": "test"}))
        service.reload()
        return status.status(service.parts)["settings"]["refused"]

    refused = asyncio.run(run())
    assert "cluster, region cannot change while the service runs; run `systemctl restart" in refused


def test_status_tells_which_files_the_service_works_by(files):
    """The role compares this with the files that it has written."""

    async def run():
        service, seen = made(files), []
        for mode in ("observe", "route"):
            files.write_text(json.dumps({**json.loads(files.read_text()), "mode": mode}))
            service.reload()
            seen.append(dict(status.status(service.parts)["settings"], wanted=configuration.load_all(files).digest))
        (files.parent / "key").write_text("too short")
        service.reload()
        return [*seen, status.status(service.parts)["settings"]]

    observing, routing, refused = asyncio.run(run())
    for taken in (observing, routing):
        assert taken["digest"] == taken["wanted"] and taken["refused"] == ""
    assert refused["digest"] == routing["digest"] != observing["digest"]
    assert "line 1 is too short" in refused["refused"] and "too short\n" not in refused["refused"]


@pytest.mark.parametrize(("internet", "fact"), [(True, ""), (False, "the internet is not reachable")])
def test_a_node_without_internet_does_not_forward_whatever_its_own_facts_say(files, internet, fact):
    async def run():
        parts = made(files).parts
        parts.collector.me = replace(parts.collector.me, forwarding=True, fact="", internet=internet)
        return status.report(parts)

    report = asyncio.run(run())
    assert (report.forwarding, report.fact) == (internet, fact)


# --- the port of the heartbeats -------------------------------------------------------------------


def opening(service, seconds, free_after=None, stop_after=None):
    """Open the port of a service while another process has it; the moments are in the list."""
    now = [0.0]

    async def sleep(duration):
        now[0] += duration
        if stop_after is not None and now[0] >= stop_after:
            service._stopping.set()

    async def open_sockets():
        if free_after is None or now[0] < free_after:
            raise PortTaken("UDP 0.0.0.0:4789 cannot be bound; is another nat-failover running here?")

    service.outside = replace(service.outside, runtime=SimpleNamespace(now=lambda: now[0], sleep=sleep))
    service.parts.transport.open = open_sockets
    return service._open_port(seconds), now


@pytest.mark.parametrize(
    ("how", "at", "opened", "told"),
    [
        ({"seconds": 30.0, "free_after": 0.0}, 0.0, True, 0),
        ({"seconds": 30.0, "free_after": 8.0}, 8.0, True, 1),
        ({"seconds": 30.0}, 30.0, PortTaken, 1),
        ({"seconds": 30.0, "stop_after": 3.0}, 3.0, False, 1),
        ({"seconds": 0.0}, 0.0, PortTaken, 0),
    ],
    ids=["it is free", "it becomes free", "it stays taken", "the service is stopped meanwhile", "an observation"],
)
def test_a_service_waits_for_its_port(files, how, at, opened, told):
    """A module that observes has it for a moment. An observation without a service does not wait: that one answers."""

    async def run():
        service = made(files)
        work, now = opening(service, **how)
        try:
            outcome = await work
        except PortTaken:
            outcome = PortTaken
        return outcome, now[0], [event["kind"] for event in service.parts.events.events]

    outcome, now, kinds = asyncio.run(run())
    assert now == pytest.approx(at, abs=0.21)
    assert (outcome, kinds) == (opened, ["port_taken"] * told)


def test_a_port_that_cannot_be_bound_for_another_reason_is_an_error_at_once(files):
    async def run():
        service = made(files)

        async def refused():
            raise NatFailoverError("UDP 10.9.9.9:4789 cannot be bound (Cannot assign requested address)")

        service.parts.transport.open = refused
        await service._open_port(30.0)

    with pytest.raises(NatFailoverError, match="Cannot assign"):
        asyncio.run(asyncio.wait_for(run(), 5))


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.filterwarnings("error")
def test_without_its_port_the_service_does_nothing_and_leaves_nothing_behind(files, stopped):
    async def run():
        service, begun = made(files), []

        async def until():
            begun.append("it waits for the end")

        work, _now = opening(service, **({"seconds": 9.0, "stop_after": 3.0} if stopped else {"seconds": 0.0}))
        work.close()
        until_the_end = until()
        try:
            await service.work(until_the_end, 9.0 if stopped else 0.0)
        except PortTaken as error:
            assert not stopped, error
        assert until_the_end.cr_frame is None and not begun
        return [event["kind"] for event in service.parts.events.events]

    assert "started" not in asyncio.run(run())
