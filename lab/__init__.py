# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: a VPC in a box on one Linux machine."""
