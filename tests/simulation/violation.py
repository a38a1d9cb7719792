# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of an incident that broke a law."""

from __future__ import annotations


class Violation(Exception):
    """A law was broken. The first word is the invariant's name."""
