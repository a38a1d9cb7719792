# SPDX-License-Identifier: GPL-3.0-or-later
"""The molecule stage: the role on real systemd hosts of the lab. Each step of the scenario counts as one test."""

from __future__ import annotations

import re
from pathlib import Path

from devtool import environment, paths, process
from devtool.count import Count

SCENARIO = "default"
# Steps without which a green run means little.
ESSENTIAL = ("converge", "idempotence", "verify")


def run(log: Path, limit: float) -> Count:
    """molecule test, with a home of its own; steps are counted from its log."""
    if not (paths.ROOT / "molecule" / SCENARIO / "molecule.yml").is_file():
        return Count(failed=1, names=(f"molecule: there is no scenario molecule/{SCENARIO}",))
    env = environment.with_home("molecule")
    env["MOLECULE_GLOB"] = "molecule/*/molecule.yml"
    outcome = process.run(
        [paths.bin_path("molecule"), "test", "-s", SCENARIO],
        log=log,
        cwd=paths.ROOT,
        limit=limit,
        env=env,
        title="molecule",
    )
    done = steps(outcome.text())
    if outcome.code:
        return Count(passed=len(done), failed=1, names=(f"molecule: exit code {outcome.code} after {', '.join(done)}",))
    lacking = [name for name in ESSENTIAL if name not in done]
    return Count(passed=len(done), failed=len(lacking), names=tuple(f"molecule: no {name}" for name in lacking))


def steps(text: str) -> list[str]:
    """The steps that molecule says it has executed successfully, in order, each once."""
    pattern = rf"\b{SCENARIO}\s+\S+\s+([a-z_]+):\s+Executed:\s+Successful"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return list(dict.fromkeys(re.findall(pattern, plain)))
