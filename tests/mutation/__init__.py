# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutation testing of the engine: small faults, one at a time, and the tests that must notice each."""
