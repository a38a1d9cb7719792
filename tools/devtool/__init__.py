# SPDX-License-Identifier: GPL-3.0-or-later
"""What ./dev does: prepare the machine, run the lab, run every gate. Standard library only."""
