# SPDX-License-Identifier: GPL-3.0-or-later
"""The lint stage: each gate counts as one test."""

from __future__ import annotations

from pathlib import Path

from devtool import environment, paths, process
from devtool.count import Count

WORKFLOWS = (".github/workflows/ci.yml", ".github/workflows/release.yml")
# The engine is no installed package: import-linter finds it where the modules do.
ROOMS = (
    "import sys; sys.path.insert(0, 'plugins/module_utils'); "
    "from importlinter.cli import lint_imports_command; lint_imports_command()"
)
GATES: tuple[tuple[str, list[str]], ...] = (
    ("ansible-lint", ["ansible-lint", "--offline", "--profile", "production", "--strict"]),
    ("yamllint", ["yamllint", "--strict", "."]),
    ("ruff", ["ruff", "check", "--no-fix", "."]),
    ("mypy", ["mypy"]),
    ("rooms", ["python", "-c", ROOMS]),
    ("changelog", ["antsibull-changelog", "lint"]),
    ("workflow", ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]),
    ("updates", ["check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml"]),
    ("zizmor", ["zizmor", "--offline", "--no-progress", ".github"]),
    (
        "dashboard",
        [
            "check-jsonschema",
            "--schemafile",
            "tests/integration/monitoring/dashboard.schema.json",
            "docs/dashboard.json",
        ],
    ),
    ("docs", ["python", "tools/dev.py", "docs", "--check"]),
)


def run(log: Path, limit: float) -> Count:
    """Run all gates, also after one has failed."""
    log.unlink(missing_ok=True)
    env = environment.with_home("lint")
    total = Count()
    for name, argv in GATES:
        outcome = process.run(
            [paths.bin_path(argv[0]), *argv[1:]],
            log=log,
            cwd=paths.ROOT,
            limit=limit,
            env=env,
            title=f"lint ({name})",
            append=True,
        )
        total += Count(failed=1, names=(f"lint::{name}",)) if outcome.code else Count(passed=1)
    return total
