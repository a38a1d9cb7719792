# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text from outside: tags, heartbeats, IMDS, answers of AWS, reasons of operators.

A control character in it could forge a line of the journal, or steer a terminal.
"""

from __future__ import annotations

import re

# C0, DEL, C1, the separators of lines and paragraphs, and the marks that reverse the direction of
# text (Unicode Standard Annex 9).
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text without control characters. White space becomes a space, anything else ``?``."""
    return _CONTROL.sub(lambda found: " " if found.group().isspace() else "?", text)
