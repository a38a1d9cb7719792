# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks: a process of its own that runs an operator's programs on events of the service.

It reads the service's socket for readers, so no program is ever on the path of a failover.
"""
