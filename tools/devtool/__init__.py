# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of ./dev: prepare the machine, run the lab, run every gate. Standard library only."""
