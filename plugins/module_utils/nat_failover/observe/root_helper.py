# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to the root helper of this host (``host/repair_helper.py``)."""

from __future__ import annotations

import asyncio

from ..host.repair_helper import CHANGED, NOTHING
from ..runtime.base import Runtime


async def ask(runtime: Runtime, path: str, word: str, within: float) -> str:
    """The line that the helper answers within so many seconds, or the reason why it gave none.

    Raises ``FileNotFoundError`` where there is no helper.
    """
    try:
        return await runtime.within(within, _ask(runtime, path, word))
    except FileNotFoundError:
        raise
    except asyncio.TimeoutError:
        return f"{path}: no answer within {within:.0f} s"
    except (OSError, ValueError) as error:
        return f"{path}: {error}"


async def _ask(runtime: Runtime, path: str, word: str) -> str:
    lines = await runtime.connect_unix(path)
    try:
        return (await lines.ask(word.encode("ascii"))).decode("utf-8", "replace").strip()
    finally:
        lines.close()


def refusal(line: str) -> str:
    """The reason in an answer for which an order was not carried out, or "" if it was."""
    return "" if line in (CHANGED, NOTHING) else line or "the helper ended without an answer"
