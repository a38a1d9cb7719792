# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's hosts: bare namespaces, or machines with a real systemd. Both are switched, killed and frozen the same way."""
