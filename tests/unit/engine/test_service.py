# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as it ships, put together: what a reload reaches, and what a heartbeat says. No socket is opened, no call is made."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from nat_failover.config import load as configuration
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
