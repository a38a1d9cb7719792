# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: two NAT nodes set up by the role, one of them killed under traffic, and what then happens, live."""
