# SPDX-License-Identifier: GPL-3.0-or-later
"""Measurements that anyone can repeat in the lab: ``./dev bench``."""
