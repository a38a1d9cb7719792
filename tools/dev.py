# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python behind ./dev. Standard library only: it runs before anything is installed."""

from __future__ import annotations

from devtool.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
