# SPDX-License-Identifier: GPL-3.0-or-later
"""An executor that carries out plans against a pretended EC2."""

from __future__ import annotations

import asyncio
import types
from dataclasses import replace

from nat_failover.act.executor import Executor
from nat_failover.errors import Ec2Error
from nat_failover.model.cluster import ROUTE_ACTIVE, AddressView, Claim, InstanceView, RouteView
from nat_failover.model.plan import FenceStep, Plan, SetRoute
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
