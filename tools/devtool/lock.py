# SPDX-License-Identifier: GPL-3.0-or-later
"""./dev lock: resolve requirements.in anew and write requirements.txt, with the hash of every published file."""

from __future__ import annotations

import sys

from devtool import console, paths, process, venv

HEADER = (
    "# The lock of requirements.in for Python 3.11 and later, with the hash of every published file. "
    "Renew it with: ./dev lock\n"
)
PYTHON_FLOOR = "3.11"


def renew(arguments: list[str]) -> int:
    """Resolve with uv, which asks the index for the hashes of all files, not only of those that fit this machine."""
    folder = paths.CACHE / "venvs" / "lock"
    if not (folder / "bin" / "uv").exists():
        console.progress("installing uv, the resolver, into .cache/venvs/lock")
        venv.create(folder, sys.executable)
        venv.pip_install(folder, ["uv"], title="pip install uv")
    draft = paths.CACHE / "requirements.txt"
    draft.unlink(missing_ok=True)
    argv = [
        str(folder / "bin" / "uv"),
        "pip",
        "compile",
        paths.LOCK_INPUT.name,
        "--generate-hashes",
        "--quiet",
        "--python-version",
        PYTHON_FLOOR,
        "--no-header",
        "--no-annotate",
        "--no-emit-index-url",
        "--output-file",
        str(draft),
        *arguments,
    ]
    outcome = process.run(argv, log=paths.LOGS / "lock.log", cwd=paths.ROOT, limit=600, title="uv pip compile")
    if outcome.code:
        raise console.Refusal(f"the requirements could not be resolved; see {outcome.log}\n{outcome.text()[-1500:]}")
    text = draft.read_text(encoding="utf-8")
    old = _pins(paths.LOCK.read_text(encoding="utf-8")) if paths.LOCK.exists() else {}
    new = _pins(text)
    paths.LOCK.write_text(HEADER + text, encoding="utf-8")
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            console.result(f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}")
    console.result(f"{len(new)} packages in {paths.LOCK.name}")
    return 0


def _pins(text: str) -> dict[str, str]:
    """Name and version of each line that pins a package."""
    pins = (line.split()[0].split("==", 1) for line in text.splitlines() if "==" in line and line[0].isalnum())
    return dict(pins)
