# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's network: namespaces, links, routes, address translation and faults, as the API's snapshot says."""
