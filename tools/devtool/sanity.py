# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test sanity on a copy of the checkout, without any download but from the Python package index.

ansible-test makes a virtual environment per test and wants a pip bootstrap script from a server of its own for that. It
takes one from its cache when it is there. The one that stands there asks the standard library instead.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from devtool import count, environment, interpreters, paths, process, tree
from devtool.choice import USUAL, Choice
from devtool.count import Count

BOOTSTRAP = """# Written by ./dev: the pip of the standard library is enough.
import ensurepip

ensurepip.bootstrap(default_pip=True)
"""

# Tests that must have looked at something: "no tests applicable" is a failure for these.
MUST_APPLY = (
    "ansible-doc",
    "compile",
    "import",
    "no-assert",
    "pep8",
    "pylint",
    "runtime-metadata",
    "shebang",
    "validate-modules",
    "yamllint",
)
# The other Python versions see what runs on nodes.
PER_VERSION = ("compile", "import")
# More than half of all work. At each run it sees what the tarball ships, as Galaxy does: ruff and mypy read the rest.
LONG, SHIPPED = "pylint", ("plugins/", "roles/")


def run(log: Path, limit: float, choice: Choice = USUAL) -> Count:
    """All sanity tests with the Python of .venv; compile and import under the oldest one, nightly under each that this machine has.

    pylint sees all files nightly.
    """
    copy = tree.refresh_copy()
    if not list((copy / "plugins" / "modules").glob("*.py")):
        return Count(failed=1, names=("sanity: there is no module to test in plugins/modules",))
    env = environment.with_home("sanity")
    _seed_bootstrap(Path(env["HOME"]))
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    others = [version for version in interpreters.wanted(nightly=choice.nightly) if version != here]
    found = {version: interpreters.find(version) for version in others}
    own = {version: path for version, path in found.items() if path}
    # Real interpreters come before anything else that PATH may offer under the same name.
    folders = [str(Path(path).parent) for path in own.values()]
    env["PATH"] = os.pathsep.join([str(paths.VENV / "bin"), *folders, env["PATH"]])
    log.unlink(missing_ok=True)
    calls: list[tuple[str, tuple[str, ...], list[str]]] = [(here, MUST_APPLY, [])]
    if not choice.nightly:
        rest = tuple(name for name in MUST_APPLY if name != LONG)
        calls = [(here, rest, ["--skip-test", LONG]), (here, (LONG,), ["--test", LONG, *SHIPPED])]
    words = [word for name in PER_VERSION for word in ("--test", name)]
    calls += [(version, PER_VERSION, words) for version in own]
    return sum((_call(*call, copy, env, log, limit) for call in calls), Count())


def _call(
    version: str, must: tuple[str, ...], words: list[str], copy: Path, env: dict[str, str], log: Path, limit: float
) -> Count:
    """One run of ansible-test; its results are read from the JUnit files that it leaves. ``must``: tests that must have looked at something."""
    reports = copy / "tests" / "output" / "junit"
    for old in reports.glob("*.xml"):
        old.unlink()
    argv = [paths.bin_path("ansible-test"), "sanity", "--junit", "--color", "no", "--python", version, *words]
    outcome = process.run(argv, log=log, cwd=copy, limit=limit, env=env, title="sanity", append=True)
    files = sorted(reports.glob("*.xml"))
    seen = count.of_junit(files)
    idle = _idle(files, must)
    seen += Count(failed=len(idle), names=tuple(f"sanity::{name} looked at nothing ({version})" for name in idle))
    if outcome.code and not seen.failed:
        seen += Count(failed=1, names=(f"ansible-test sanity --python {version}: exit code {outcome.code}",))
    return seen


def _idle(files: list[Path], names: tuple[str, ...]) -> list[str]:
    """Those of `names` that did not run, or had nothing to look at."""
    busy = set()
    for file in files:
        name = re.sub(r"^ansible-test-sanity-|(-python-[0-9.]+)?\.xml$", "", file.name)
        if not count.of_junit([file]).skipped:
            busy.add(name)
    return [name for name in names if name not in busy]


def _seed_bootstrap(home: Path) -> None:
    """Put the bootstrap script where this ansible-test looks for it; the name carries the pip version it wants."""
    source = next((paths.VENV / "lib").glob("python*/site-packages/ansible_test/_internal/python_requirements.py"))
    versions = set(re.findall(r"""\bpip=['"]([0-9.]+)['"]""", source.read_text(encoding="utf-8"))) or {"24.2"}
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(BOOTSTRAP, encoding="utf-8")
