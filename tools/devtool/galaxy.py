# SPDX-License-Identifier: GPL-3.0-or-later
"""Galaxy's check of an uploaded tarball, done here first, and the other collections in galaxy.yml."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from devtool import environment, paths, process, venv

REQUIREMENTS = paths.TESTS / "requirements-galaxy.txt"
LOADED = "Importer processing completed successfully"
# The importer's log has a level before each line that is not for information.
COMPLAINT = re.compile(r"^(?:DEBUG|WARNING|ERROR|CRITICAL): .*", re.MULTILINE)
# Folders of the collection whose YAML names plugins of other collections.
SOURCES = ("inventories", "meta", "playbooks", "roles")
_PLUGIN = re.compile(r"\b([a-z]\w*\.[a-z]\w*)\.[a-z]\w*")


def imports(folder: Path, tarball: Path | None, log: Path, limit: float) -> str:
    """Galaxy's importer, without a container and without the network; what it complains of, or an empty text."""
    if tarball is None:
        return "no tarball"
    python = venv.ensure_small("galaxy", sys.executable, REQUIREMENTS)
    venv.lend_collections(python)
    env = environment.with_home("galaxy")
    # Its own ansible-doc and ansible-lint, and no collection but the tarball's and those of the ansible package.
    env.update(PATH=os.pathsep.join([str(python.parent), env["PATH"]]), GALAXY_IMPORTER_OFFLINE_ANSIBLE_LINT="true")
    env.pop("ANSIBLE_COLLECTIONS_PATH")
    mark = log.stat().st_size if log.exists() else 0
    argv = [str(python), "-m", "galaxy_importer.main", str(tarball)]
    outcome = process.run(argv, log=log, cwd=folder, limit=limit, env=env, title="galaxy-importer", append=True)
    return complaints(log.read_bytes()[mark:].decode(errors="replace"), outcome.code)


def complaints(output: str, code: int) -> str:
    """The warnings and errors of the importer, in one line. Empty when the collection is taken as it is."""
    found = COMPLAINT.findall(output)
    if found:
        return "; ".join(found[:5])
    return (
        ""
        if code == 0 and LOADED in output
        else f"galaxy-importer ended with {code}, and did not say that it succeeded"
    )


def dependencies(tarball: Path | None) -> str:
    """Whether the tarball declares the collections that it uses, in the versions that are tested; how it does not."""
    if tarball is None:
        return "no tarball"
    with tarfile.open(tarball) as archive:
        manifest = json.load(archive.extractfile("MANIFEST.json") or io.BytesIO())
    declared = manifest["collection_info"]["dependencies"]
    texts = (file.read_text(encoding="utf-8") for name in SOURCES for file in (paths.ROOT / name).rglob("*.yml"))
    maybe = named(texts)
    tested = {name: version for name in maybe if (version := _version(name))}
    return undeclared(declared, tested, set(tested))


def named(texts: Iterable[str]) -> set[str]:
    """Names that may be another collection: the first two of three names joined by dots, outside of comments."""
    return {name for text in texts for name in _PLUGIN.findall(re.sub(r"(?m)^\s*#.*$", "", text))}


def _version(collection: str) -> str:
    """The version of a collection with which the tests run; empty when the ansible package has no such collection."""
    manifest = venv.collections() / collection.replace(".", "/") / "MANIFEST.json"
    return (
        str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
        if manifest.is_file()
        else ""
    )


def undeclared(declared: Mapping[str, str], tested: Mapping[str, str], used: set[str]) -> str:
    """How declared dependencies differ from those that are used and tested; empty when they do not."""
    problems = [f"{name} is used and not declared" for name in sorted(used - set(declared))]
    problems += [f"{name} is declared and not used" for name in sorted(set(declared) - used)]
    for name in sorted(used & set(declared)):
        version = tested[name]
        wanted = f">={version},<{int(version.split('.')[0]) + 1}.0.0"
        if declared[name] != wanted:
            problems.append(f"{name} is declared as {declared[name]} and tested with {version}: declare {wanted}")
    return "galaxy.yml: " + "; ".join(problems) if problems else ""
