# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the checkout, a copy of them for tools that want a certain folder, and a link by collection name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from devtool import console, paths


def files() -> list[str]:
    """The files that git tracks or would track: all that are not ignored and still exist."""
    # safe.directory: root may test a checkout that belongs to somebody else; only names are listed.
    argv = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(argv, cwd=paths.ROOT, capture_output=True, check=False)
    if answer.returncode:
        raise console.Refusal(f"git cannot list this checkout: {answer.stderr.decode(errors='replace').strip()}")
    names = sorted({os.fsdecode(name) for name in answer.stdout.split(b"\0") if name})
    return [name for name in names if os.path.lexists(paths.ROOT / name)]


def refresh_copy() -> Path:
    """Make COPY hold exactly the files of the checkout; a tool's own output in it goes away."""
    shutil.rmtree(paths.COPY, ignore_errors=True)
    for name in files():
        target = paths.COPY / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(paths.ROOT / name, target, follow_symlinks=False)
    # A repository of its own: in the outer one all of this is ignored, and ansible-test would find nothing to test.
    subprocess.run(["git", "init", "--quiet", "--template="], cwd=paths.COPY, capture_output=True, check=True)
    return paths.COPY


def ensure_live_link() -> None:
    """A folder for ANSIBLE_COLLECTIONS_PATH in which aws_ha.egress is this checkout."""
    link = paths.LIVE / "ansible_collections" / "aws_ha" / "egress"
    if link.is_symlink() and link.resolve() == paths.ROOT:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(paths.ROOT, target_is_directory=True)
