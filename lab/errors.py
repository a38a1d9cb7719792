# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the lab, one line each."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot do what was asked. The text says what failed and, where there is one, the remedy."""


class Prerequisite(LabError):
    """Bad input, or something must be done on this machine first: nothing was tried."""
