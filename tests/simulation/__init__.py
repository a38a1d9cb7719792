# SPDX-License-Identifier: GPL-3.0-or-later
"""The real policy on virtual time: modelled network, EC2 and hosts, seeded faults, and the laws as invariants."""
