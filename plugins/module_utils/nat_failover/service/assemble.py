# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the parts of one service and connects them: which part wakes it, which reports events."""

from __future__ import annotations

import typing as t

from ..act.executor import Executor
from ..model.liveness import LivenessCounter
from ..model.memory import Memory
from ..model.settings import Config
from ..observe.collector import EvidenceCollector
from ..observe.sign_reader import SignReader
from ..observe.witness_reader import WitnessReader
from ..timing import TimerCoalescer
from ..wire.codec import Codec
from ..wire.seals import Seals
from ..wire.transport import HeartbeatTransport
from .events import EventLog
from .outside import Outside
from .parts import Parts


def assemble(config: Config, keys: t.Sequence[bytes], outside: Outside, wake: t.Callable[[], None]) -> Parts:
    """Make the parts, from the bottom up. They call ``wake()`` when there is new evidence."""
    runtime = outside.runtime
    timers = TimerCoalescer(config.heartbeat.interval, runtime)
    events = EventLog(runtime)
    seals = Seals(keys, config.cluster)
    liveness = LivenessCounter(outside.boot_id, config.self_name, seals.sign, runtime.wall_time())
    transport = HeartbeatTransport(
        Codec(keys, config.cluster, config.self_name),
        runtime,
        self_name=config.self_name,
        boot_id=outside.boot_id,
        port=config.heartbeat.port,
    )
    collector = EvidenceCollector(
        config,
        runtime,
        timers,
        ec2=outside.ec2,
        host=outside.host,
        prober=outside.prober,
        metadata=outside.metadata,
        wake=wake,
        emit=events.emit,
    )
    witness = WitnessReader(
        config,
        outside.table,
        runtime,
        timers,
        boot_id=outside.boot_id,
        liveness=liveness,
        seals=seals,
        instance_id=lambda: collector.instance_id(config.self_name),
        wake=wake,
        emit=events.emit,
    )
    executor = Executor(config, runtime, outside.ec2, collector, witness, liveness, seals, wake, events.emit)
    transport.on_stranger = collector.impostors.note
    return Parts(
        config=config,
        runtime=runtime,
        boot_id=outside.boot_id,
        timers=timers,
        liveness=liveness,
        signs=SignReader(seals),
        events=events,
        transport=transport,
        collector=collector,
        witness=witness,
        executor=executor,
        memory=Memory(awake_since=runtime.now()),
        started_at=runtime.now(),
    )
