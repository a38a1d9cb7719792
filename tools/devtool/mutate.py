# SPDX-License-Identifier: GPL-3.0-or-later
"""./dev mutate: mutation testing of the engine, in an environment of its own, as the library for it concerns no gate."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from devtool import environment, paths, venv

REQUIREMENTS = paths.TESTS / "requirements-mutate.txt"


def become(rest: list[str]) -> NoReturn:
    """Become the run: its output, its signals and its exit code are those of this command."""
    python = str(venv.ensure_small("mutate", sys.executable, REQUIREMENTS))
    os.chdir(paths.ROOT)
    sys.stdout.flush()
    sys.stderr.flush()
    places = [str(paths.ROOT / "plugins" / "module_utils"), str(paths.ROOT)]
    env = {**environment.base(), "PYTHONPATH": os.pathsep.join(places)}
    os.execve(python, [python, "-m", "tests.mutation", *rest], env)
