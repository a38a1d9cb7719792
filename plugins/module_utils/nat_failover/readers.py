# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to the service over its socket, as the processes beside it ask."""

from __future__ import annotations

import asyncio
import json
import typing as t

LONGEST = 4 << 20  # bytes of an answer
WITHIN = 2.0  # seconds in which the service must answer


async def ask(path: str, question: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The service's answer on the socket ``path``. The caller limits the time.

    Raises ``OSError``, and ``ValueError`` or ``RecursionError`` if it is no answer.
    """
    reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST)
    try:
        writer.write(json.dumps(question).encode() + b"\n")
        answer = json.loads(await reader.readline())
    finally:
        writer.close()
    if not isinstance(answer, dict) or "error" in answer:
        raise ValueError(answer["error"] if isinstance(answer, dict) else "no object")
    return answer
