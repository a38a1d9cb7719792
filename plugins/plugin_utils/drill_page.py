# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a drill as one HTML page without scripts and external assets. Pure."""

from __future__ import annotations

import typing as t
from datetime import datetime, timezone
from html import escape

Row = t.Mapping[str, t.Any]
WIDTH, LEFT, ROW = 960, 190, 20  # pixels of the drawing: its width, the names before it, a line of it
LEAD_S = 2.0  # seconds before a step that the drawing shows
STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:1rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .6rem;text-align:left;border-bottom:1px solid #8886}
td.n{text-align:right;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}svg{min-width:720px;width:100%}
svg text{font:12px system-ui,sans-serif;fill:currentColor}.ok{fill:#2e8b57}.lost{fill:#c0392b}.mark{stroke:currentColor}
.grid{stroke:#8886}code{font-size:.9em}
"""


def page(report: Row) -> str:
    """The page."""
    title = f"Drill of {report['node']} in cluster {report['cluster']}"
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>",
        "<p>An outage is the longest time between two answers to a client, so at least the interval of its requests.",
        "Times are those of each host's clock, in UTC.</p>",
    ]
    for step in report["steps"]:
        parts += _step(report, step)
    return "\n".join([*parts, "</body></html>", ""])


def _step(report: Row, step: Row) -> list[str]:
    """The figures, the drawing and the events of one step."""
    took = step["ended"] - step["began"]
    parts = [
        f"<h2>{escape(step['step'])}</h2>",
        f"<p>{_clock(step['began'])}, {took:.0f} s until all was at rest again.</p>",
    ]
    head = "<tr><th>client</th><th>target</th><th>outage (ms)</th><th>lost</th><th>sent</th><th>seen as</th></tr>"
    rows = []
    for client, figures in step["clients"].items():
        for each in figures:
            outage = "not measured" if each["outage_ms"] is None else f"{each['outage_ms']:,}"
            cells = f"<td>{escape(client)}</td><td>{escape(each['target'])}</td><td class=n>{outage}</td>"
            more = (
                f"<td class=n>{each['lost']:,}</td><td class=n>{each['sent']:,}</td><td>{escape(each['address'])}</td>"
            )
            rows.append(f"<tr>{cells}{more}</tr>")
    parts += [f'<div class="wide"><table>{head}{"".join(rows)}</table></div>', _drawing(report, step)]
    lines = []
    for node, events in step["events"].items():
        for event in events:
            text = f"{event['kind']}: {event['text']}"
            lines.append((event["at"], f"<td>{escape(node)}</td><td>{escape(text)}</td>"))
    body = "".join(f"<tr><td class=n>{at - step['began']:+.2f} s</td>{cells}</tr>" for at, cells in sorted(lines))
    return [*parts, f'<div class="wide"><table><tr><th>after</th><th>node</th><th>event</th></tr>{body}</table></div>']


def _drawing(report: Row, step: Row) -> str:
    """The requests of each client, beside the events of each node.

    Those without an answer are red and taller.
    """
    begin, end = step["began"] - LEAD_S, max(step["ended"], step["began"] + 1.0)
    scale = (WIDTH - LEFT) / (end - begin)

    def x(at: float) -> float:
        return LEFT + (min(max(at, begin), end) - begin) * scale

    rows: list[str] = []
    line = 0
    for client, result in report["clients"].items():
        for target in result.get("targets", ()):
            top = line * ROW
            label = f"{client} {target['kind']}"
            rows.append(f'<text x="0" y="{top + 14}">{escape(label)}</text>')
            first, last = x(target["began"]), x(target["ended"])
            rows.append(
                f'<rect class="ok" x="{first:.1f}" y="{top + 8}" width="{max(last - first, 0):.1f}" height="4"/>'
            )
            for at, length in target["gaps"]:
                if at + length > begin and at < end and length > 3 * target["interval_s"]:
                    wide = max(x(at + length) - x(at), 1.5)
                    tip = f"{_clock(at)}: {length * 1000:.0f} ms without an answer"
                    box = f'x="{x(at):.1f}" y="{top + 3}" width="{wide:.1f}" height="14"'
                    rows.append(f'<rect class="lost" {box}><title>{escape(tip)}</title></rect>')
            line += 1
    for node, events in step["events"].items():
        top = line * ROW
        rows.append(f'<text x="0" y="{top + 14}">{escape(node)} events</text>')
        for event in events:
            at = f"{x(event['at']):.1f}"
            tip = escape(f"{_clock(event['at'])} {event['kind']}: {event['text']}")
            rows.append(
                f'<line class="mark" x1="{at}" x2="{at}" y1="{top + 3}" y2="{top + 17}" stroke-width="2"><title>{tip}</title></line>'
            )
        line += 1
    bottom = line * ROW
    for name, at in (("begin", step["began"]), ("done", step["done"])):
        rows.append(f'<line class="grid" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="0" y2="{bottom}"/>')
        rows.append(f'<text x="{x(at) + 2:.1f}" y="{bottom + (14 if name == "begin" else 28)}">{name}</text>')
    text = f"{step['step']}: requests and events over {end - begin:.0f} seconds"
    opening = f'<div class="wide"><svg viewBox="0 0 {WIDTH} {bottom + 32}" role="img" aria-label="{escape(text)}">'
    return "\n".join([opening, *rows, "</svg></div>"])


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
