# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of the Pythons that the lab starts from a checkout."""

from __future__ import annotations

import os
import sys


def environment(**more: str) -> dict[str, str]:
    """This process's environment, and ``more``. Root leaves no bytecode beside the sources, which may be somebody else's."""
    apart = {} if sys.pycache_prefix else {"PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **apart, **more}
