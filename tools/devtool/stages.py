# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of what ./dev test runs. Each stage has a least count, so that nothing passes because nothing ran."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devtool import apt, cores, gates, package, paths, pytests, sanity, scenario
from devtool.choice import USUAL, Choice
from devtool.count import Count

# Each file has a lab of its own, and waits for half of its time: one after the other they keep half a core busy.
E2E_LANES = 3


class Lane(enum.Enum):
    """Stages of one lane run one after the other, the lanes of a turn beside each other."""

    CLOCK = enum.auto()  # packets on a real clock: these wait for most of their time, and need a core when they do not
    CLOCK_BESIDE = enum.auto()
    CLOCK_THIRD = enum.auto()
    MACHINES = enum.auto()  # machines boot and playbooks wait for them, while the other lanes have work
    MACHINES_BESIDE = enum.auto()
    WORK = enum.auto()
    COMPUTE = enum.auto()  # work for processors that no clock hurries: beside all turns


# The lanes of a turn, and whether they are on a real clock: the lane COMPUTE gives way to these.
TURNS = (
    ((Lane.CLOCK, Lane.CLOCK_BESIDE, Lane.CLOCK_THIRD), True),
    ((Lane.MACHINES, Lane.MACHINES_BESIDE, Lane.WORK), False),
)


@dataclass(frozen=True)
class Job:
    """The arguments of a stage."""

    name: str
    log: Path
    limit: float
    choice: Choice = USUAL


@dataclass(frozen=True)
class Stage:
    """One stage. `least` passed tests are needed."""

    name: str
    what: str
    call: Callable[[Job], Count]
    least: int
    limit: float
    lane: Lane = Lane.WORK
    lab: bool = False
    optional_folder: str = ""
    on_demand: bool = False
    applies: Callable[[], bool] = lambda: True

    def wanted(self) -> bool:
        """Whether it runs without being named: if it is not long for little, and can run."""
        return self.can_run() and not self.on_demand

    def can_run(self) -> bool:
        """Whether its folder and its interpreters are here."""
        there = not self.optional_folder or (paths.ROOT / self.optional_folder).is_dir()
        return there and self.applies()


def _pytest(*folders: str) -> Callable[[Job], Count]:
    """A stage that runs pytest in the main environment."""
    return lambda job: pytests.run(job.log, list(folders), limit=job.limit, choice=job.choice)


def _timed(*folders: str) -> Callable[[Job], Count]:
    """The same for tests on a real clock, kernel and network."""
    return lambda job: pytests.run_timed(job.log, list(folders), limit=job.limit, choice=job.choice)


def _proxy(job: Job) -> Count:
    """The engines come from the distribution; nothing starts them but the tests."""
    apt.ensure_held_back(apt.PROXY)
    return _timed("tests/integration/proxy")(job)


def _e2e(job: Job) -> Count:
    """The longest files first. conntrackd comes from the distribution; nothing starts it but the tests."""
    apt.ensure_masked(apt.SYNC, "conntrackd.service")
    first = ("identities", "restraint", "state_sync", "endurance", "forwarding_faults", "least_privilege", "hardship")
    return pytests.run_beside(
        job.log,
        "tests/integration/e2e",
        lanes=E2E_LANES,
        limit=job.limit,
        choice=job.choice,
        first=tuple(f"test_{name}.py" for name in first),
    )


def _sync(job: Job) -> Count:
    """conntrackd comes from the distribution; nothing starts it but the tests."""
    apt.ensure_masked(apt.SYNC, "conntrackd.service")
    return _timed("tests/integration/sync")(job)


def _monitoring(job: Job) -> Count:
    """promtool comes from the distribution; the server of its package never starts."""
    apt.ensure_masked(apt.MONITORING, "prometheus.service")
    return _pytest("tests/integration/monitoring")(job)


def _page(job: Job) -> Count:
    """The browser comes from the distribution."""
    apt.ensure(apt.PAGE)
    return _timed("tests/integration/page")(job)


# In this order. `lab`: needs root and the lab's packages.
STAGES = (
    Stage(
        "build",
        "the collection builds, Galaxy's importer takes it, it installs and documents itself",
        lambda job: package.run(job.log, job.limit),
        least=7,
        limit=1200,
        lane=Lane.COMPUTE,
    ),
    Stage(
        "unit",
        "pytest tests/unit, here and under other Pythons",
        lambda job: pytests.run_everywhere(job.log, ["tests/unit"], limit=job.limit, choice=job.choice),
        least=10,
        limit=1500,
    ),
    Stage(
        "simulation",
        "pytest tests/simulation",
        _pytest("tests/simulation"),
        least=1,
        limit=3600,
        optional_folder="tests/simulation",
        lane=Lane.COMPUTE,
    ),
    Stage(
        "api",
        "pytest tests/integration/api and adapter",
        _pytest("tests/integration/api", "tests/integration/adapter"),
        least=5,
        limit=1200,
    ),
    Stage(
        "monitoring",
        "pytest tests/integration/monitoring: promtool checks and tests metrics, alerts and the dashboard",
        _monitoring,
        least=20,
        limit=1200,
    ),
    Stage(
        "fleet",
        "pytest tests/integration/fleet, playbooks on machines",
        _timed("tests/integration/fleet"),
        least=7,
        limit=3600,
        lane=Lane.MACHINES_BESIDE,
        lab=True,
    ),
    Stage(
        "page",
        "pytest tests/integration/page: the live page in headless Chromium, while things happen in the lab",
        _page,
        least=5,
        limit=1200,
        lane=Lane.MACHINES,
        lab=True,
    ),
    Stage(
        "proxy",
        "pytest tests/integration/proxy: Squid and Tinyproxy in network namespaces",
        _proxy,
        least=20,
        limit=2400,
        lane=Lane.CLOCK_BESIDE,
        lab=True,
    ),
    Stage(
        "sync",
        "pytest tests/integration/sync: conntrackd on two nodes in network namespaces",
        _sync,
        least=12,
        limit=600,
        lane=Lane.CLOCK_THIRD,
        lab=True,
    ),
    Stage(
        "lab",
        "pytest tests/integration/lab",
        _timed("tests/integration/lab"),
        least=1,
        limit=1800,
        lane=Lane.CLOCK_THIRD,
        lab=True,
    ),
    Stage(
        "e2e",
        f"pytest tests/integration/e2e, {E2E_LANES} files at a time",
        _e2e,
        least=50,
        limit=2400,
        lane=Lane.CLOCK,
        lab=True,
    ),
    Stage(
        "playbooks",
        "pytest tests/integration/playbooks",
        _timed("tests/integration/playbooks"),
        least=15,
        limit=3000,
    ),
    Stage(
        "cores",
        "playbooks and modules under the newest ansible-core, where its Python is here",
        lambda job: cores.run(job.log, job.limit, cores.NEWEST, job.choice),
        least=30,
        limit=1800,
        applies=lambda: bool(cores.here(cores.NEWEST)),
    ),
    Stage(
        "sanity",
        "ansible-test sanity",
        lambda job: sanity.run(job.log, job.limit, job.choice),
        least=15,
        limit=2400,
        lane=Lane.COMPUTE,
    ),
    Stage(
        "lint",
        "linters, and what is generated is up to date",
        lambda job: gates.run(job.log, job.limit),
        least=8,
        limit=1200,
        lane=Lane.COMPUTE,
    ),
    Stage(
        "molecule",
        "molecule test of " + ", ".join(scenario.OFTEN),
        lambda job: scenario.run(job.log, job.limit),
        least=8,
        limit=2400,
        lane=Lane.MACHINES,
        lab=True,
    ),
    Stage(
        "cores-all",
        "the same under each supported ansible-core that is newer than the lock's",
        lambda job: cores.run(job.log, job.limit, cores.ALL, job.choice),
        least=60,
        limit=1800,
        on_demand=True,
        applies=lambda: bool(cores.here(cores.ALL)),
    ),
    Stage(
        "molecule-all",
        "molecule test of every scenario, on Debian 12 and 13",
        lambda job: scenario.run(job.log, job.limit, scenario.ALL, scenario.SUITES),
        least=50,
        limit=1200,
        lane=Lane.CLOCK,
        lab=True,
        on_demand=True,
    ),
)
