# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of a client of the lab to the internet, and what becomes of them: TCP, UDP and ICMP, short and long, in both directions."""
