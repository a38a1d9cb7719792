# SPDX-License-Identifier: GPL-3.0-or-later
"""A small SVG writer: lanes of time, in which packets were answered or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, LANE, TOP = 900, 230, 20, 34, 56
FINE, DARK, INK, PALE = "#3c8d5a", "#c0392b", "#222222", "#dddddd"


@dataclass(frozen=True)
class Lane:
    """One line of a plot: when (seconds) nothing was answered, and until when somebody looked."""

    label: str
    gaps: Sequence[tuple[float, float]]
    end: float


def timeline(title: str, lanes: Sequence[Lane], begin: float, end: float) -> str:
    """Green where packets were answered, red where not; zero is the moment of the fault."""
    scale = (WIDTH - LEFT - RIGHT) / (end - begin)

    def x(at: float) -> float:
        return LEFT + (min(max(at, begin), end) - begin) * scale

    bottom = TOP + LANE * len(lanes)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 36}" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{bottom + 36}" fill="#ffffff"/>',
        _text(16, 24, title, size=15),
    ]
    for second in range(int(begin), int(end) + 1):
        parts.append(_line(x(second), TOP - 6, bottom, INK if second == 0 else PALE))
        parts.append(_text(x(second), bottom + 16, "fault" if second == 0 else f"{second} s", anchor="middle"))
    for number, lane in enumerate(lanes):
        y = TOP + LANE * number
        parts.append(_text(LEFT - 10, y + 17, lane.label, anchor="end"))
        parts.append(_box(x(begin), x(lane.end), y, FINE))
        parts += [_box(x(one), x(two), y, DARK) for one, two in lane.gaps if two > begin and one < end]
    return "\n".join([*parts, "</svg>", ""])


def _box(left: float, right: float, y: float, color: str) -> str:
    return f'<rect x="{left:.1f}" y="{y}" width="{max(right - left, 0.5):.1f}" height="22" fill="{color}"/>'


def _line(x: float, top: float, bottom: float, color: str) -> str:
    return f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="{color}"/>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{INK}">{escape(words)}</text>'


@dataclass(frozen=True)
class Bar:
    """One bar of a plot."""

    label: str
    value: float


def bars(title: str, unit: str, found: Sequence[Bar]) -> str:
    """Horizontal bars from zero, with their figures."""
    most = max((row.value for row in found), default=0.0) or 1.0
    scale = (WIDTH - LEFT - RIGHT - 90) / most
    bottom = TOP + LANE * len(found)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 16}" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{bottom + 16}" fill="#ffffff"/>',
        _text(16, 24, title, size=15),
    ]
    for number, row in enumerate(found):
        y = TOP + LANE * number - 16
        end = LEFT + row.value * scale
        parts.append(_text(LEFT - 10, y + 17, row.label, anchor="end"))
        parts.append(_box(LEFT, end, y, FINE))
        parts.append(_text(end + 8, y + 17, f"{row.value:,.0f} {unit}"))
    return "\n".join([*parts, "</svg>", ""])
