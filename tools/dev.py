# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python behind ./dev. Standard library only: it runs before anything is installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(
    str(Path(__file__).resolve().parents[1])
)  # for the parts of the lab that need the standard library only

from devtool.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
