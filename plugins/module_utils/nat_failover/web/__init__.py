# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics and health over HTTP: a process of its own that reads the service's status.

It has no AWS credentials, gives no orders, and works while the service is stopped.
"""
