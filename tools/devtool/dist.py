# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a release, in dist/: the tarball, its list of parts, and checksums."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

from devtool import console, environment, paths, process, sbom

FOLDER = paths.ROOT / "dist"


def make(rest: list[str]) -> int:
    """``./dev dist VERSION``: build them, if the version is that of galaxy.yml."""
    if len(rest) != 1:
        raise console.Refusal("./dev dist takes the version, such as 1.2.0")
    wanted, found = rest[0], version(paths.ROOT / "galaxy.yml")
    if wanted != found:
        raise console.Refusal(
            f"version {wanted} is asked for, and galaxy.yml says {found}; correct the tag or galaxy.yml"
        )
    if FOLDER.exists() and any(FOLDER.iterdir()):
        raise console.Refusal(f"{FOLDER} holds files of an earlier release; move them away")
    log = paths.LOGS / "dist.log"
    argv = ["ansible-galaxy", "collection", "build", str(paths.ROOT), "--output-path", str(FOLDER)]
    env = environment.with_home("build")
    done = process.run([paths.bin_path(argv[0]), *argv[1:]], log=log, cwd=paths.ROOT, limit=300, env=env, title="dist")
    [tarball] = FOLDER.glob("*.tar.gz") if done.code == 0 else [None]
    if tarball is None:
        raise console.Refusal(f"the collection was not built; see {log}")
    parts = tarball.with_name(tarball.name.removesuffix(".tar.gz") + ".cdx.json")
    requirements = (paths.ROOT / "meta" / "ee-requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = of_tarball(tarball, [line for line in requirements if line and not line.startswith("#")])
    parts.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    sums = [f"{_digest(file)}  {file.name}" for file in (tarball, parts)]
    (FOLDER / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="ascii")
    console.result("\n".join(sums))
    return 0


def version(galaxy: Path) -> str:
    """The version in galaxy.yml."""
    match = re.search(r"^version: (\S+)$", galaxy.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise console.Refusal(f"{galaxy} has no version")
    return match[1]


def of_tarball(tarball: Path, python: list[str]) -> dict[str, Any]:
    """The list of parts of a tarball, read from the tarball itself."""
    with tarfile.open(tarball) as archive:
        manifest, files = (json.load(archive.extractfile(name)) for name in ("MANIFEST.json", "FILES.json"))  # type: ignore[arg-type]
    return sbom.document(manifest, files, _digest(tarball), python)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
