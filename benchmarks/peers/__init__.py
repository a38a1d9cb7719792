# SPDX-License-Identifier: GPL-3.0-or-later
"""Other ways to do the same job, re-created in order to be measured beside the service."""
