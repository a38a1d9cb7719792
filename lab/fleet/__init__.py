# SPDX-License-Identifier: GPL-3.0-or-later
"""Many hosts for the role: what an operator's Ansible sees of a large fleet, on one machine."""
