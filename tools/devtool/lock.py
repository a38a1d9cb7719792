# SPDX-License-Identifier: GPL-3.0-or-later
"""./dev lock: resolve each list of wanted packages anew and write its lock, with the hash of every published file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devtool import console, paths, process, venv


@dataclass(frozen=True)
class Lock:
    """A lock, and what it is made from: the file beside it that ends in .in."""

    path: Path
    python: str
    audience: str
    universal: bool = False  # for every Python from `python` on: with markers where they need different versions

    @property
    def wanted(self) -> Path:
        """The list of wanted packages."""
        return self.path.with_suffix(".in")

    @property
    def header(self) -> str:
        """The first line of the lock."""
        return (
            f"# The lock of {self.wanted.name} for {self.audience}, with the hash of every published file. "
            "Renew it with: ./dev lock\n"
        )


LOCKS = (
    Lock(paths.LOCK, "3.11", "Python 3.11 and later"),
    Lock(paths.TESTS / "requirements-nodes.txt", "3.9", "Python 3.9 and later", universal=True),
    Lock(paths.TESTS / "requirements-core-2.20.txt", "3.12", "Python 3.12"),
    Lock(paths.TESTS / "requirements-core-2.21.txt", "3.13", "Python 3.13"),
    Lock(paths.TESTS / "requirements-galaxy.txt", "3.11", "Python 3.11 and later"),
    Lock(paths.TESTS / "requirements-mutate.txt", "3.11", "Python 3.11 and later"),
)


def renew(arguments: list[str]) -> int:
    """Renew the locks that are named, or all. Arguments that name no lock are options of uv."""
    locks = {str(lock.path.relative_to(paths.ROOT)): lock for lock in LOCKS}
    options = [word for word in arguments if word not in locks]
    for name in [word for word in arguments if word in locks] or locks:
        _renew(locks[name], name, options)
    return 0


def _renew(lock: Lock, name: str, options: list[str]) -> None:
    """Resolve with uv, which asks the index for the hashes of all files, not only of those that fit this machine."""
    text = _resolve(lock, options)
    old = _pins(lock.path.read_text(encoding="utf-8")) if lock.path.exists() else {}
    new = _pins(text)
    lock.path.write_text(lock.header + text, encoding="utf-8")
    for package in sorted(old.keys() | new.keys()):
        if old.get(package) != new.get(package):
            console.result(f"{package}: {old.get(package, 'none')} -> {new.get(package, 'none')}")
    console.result(f"{len(new)} packages in {name}")


def _resolve(lock: Lock, options: list[str]) -> str:
    """The body of the lock. A version in the lock stays, as far as it fits, unless --upgrade is among the options."""
    venv.ensure()
    draft = paths.CACHE / lock.path.name
    draft.write_text(without_hashes(lock.path.read_text(encoding="utf-8") if lock.path.exists() else ""), "utf-8")
    argv = [paths.bin_path("uv"), "pip", "compile", str(lock.wanted.relative_to(paths.ROOT))]
    argv += ["--generate-hashes", "--quiet", "--python-version", lock.python]
    argv += ["--universal"] if lock.universal else []
    argv += ["--no-header", "--no-annotate", "--no-emit-index-url", "--output-file", str(draft), *options]
    outcome = process.run(
        argv, log=paths.LOGS / "lock.log", cwd=paths.ROOT, limit=600, env=of_the_index(), title="uv pip compile"
    )
    if outcome.code:
        raise console.Refusal(f"{lock.wanted.name} could not be resolved; see {outcome.log}\n{outcome.text()[-1500:]}")
    return draft.read_text(encoding="utf-8")


def of_the_index() -> dict[str, str]:
    """The settings of uv without places beside the index. A place with a part of the files would hide the hashes of the others."""
    beside = ("UV_FIND_LINKS", "UV_INDEX", "UV_EXTRA_INDEX_URL")
    return {name: value for name, value in venv.uv_environment().items() if name not in beside}


def without_hashes(text: str) -> str:
    """The pins of a lock alone: uv keeps the hashes and the comments that it finds."""
    rows = (line.removesuffix("\\").rstrip() for line in text.splitlines())
    return "".join(f"{row}\n" for row in rows if row and not row.lstrip().startswith(("#", "--hash")))


def _pins(text: str) -> dict[str, str]:
    """Name and version of each line that pins a package; several versions for several Pythons in one text."""
    pins: dict[str, str] = {}
    for line in text.splitlines():
        if "==" in line and line[0].isalnum():
            name, version = line.split()[0].split("==", 1)
            pins[name] = f"{pins[name]}, {version}" if name in pins else version
    return pins
