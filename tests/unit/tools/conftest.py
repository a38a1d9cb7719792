# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/devtool runs on the operator's machine only, under the Python that ./dev demands."""

from __future__ import annotations

import sys
from importlib.util import find_spec

# Other Pythons have what a NAT node has: these tests are for the environment of ./dev.
collect_ignore_glob = ["test_*.py"] if sys.version_info < (3, 11) or find_spec("yaml") is None else []
