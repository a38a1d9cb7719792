# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nat-failover engine: one package, used by the Ansible modules and run by the service on each
NAT node.

Start reading at ``model/`` (the words), then ``policy/decide.py`` (every decision). Nothing here
imports ``ansible.*``.
"""

from __future__ import annotations

__version__ = "1.0.0"
