# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/benchmarks.md and its plots, made of the recorded rows alone: a new measurement gives a new page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import compare, flows_section, outage, proxy_section, sections, surface
from .campaign import Part
from .parts import PARTS
from .store import Store
from .summary import median, summarize
from .svg import Lane, timeline
from .table import milliseconds, table

Row = dict[str, Any]
DOCS = Path(__file__).parents[1] / "docs"
TEMPLATE = Path(__file__).parent / "benchmarks.md.in"
NAMES = {
    "default": "this collection, `default`",
    "fast": "this collection, `fast`",
    "default-untagged": "this collection, `default`, instances without the tag",
    "fast-untagged": "this collection, `fast`, instances without the tag",
    "article": "the article's loop",
    "keepalived-1": "keepalived, adverts every 1 s",
    "keepalived-0.1": "keepalived, adverts every 0.1 s",
}
OURS = (*outage.PROFILES, *outage.BY_ID)
STEPS = {
    "asked": "the reading of EC2 begins",
    "answered": "EC2 has answered",
    "verdict": "verdict",
    "written": "the write arrives",
    "applied": "it is applied",
    "flowing": "packets flow",
}
SPLIT = ("detect", "decide", "api", "fabric")
PICTURES = ("footprint", "adoption", "clusters", "rollout", "proxy", "flows")
BEHAVIOUR = {
    "partition": "no packet passes between the nodes; both live and reach EC2 (40 s)",
    "api-outage": "a node dies, and the EC2 API answers 503 for the first 15 s",
    "uplink": "a node loses its uplink: internet and EC2 (40 s)",
    "one-way": "packets of nat-a do not reach nat-b, those of nat-b arrive (40 s)",
}


def groups(rows: Iterable[Row]) -> dict[tuple[str, str, int], list[Row]]:
    """Rows by (case, contender, API latency), in the order of the names."""
    found: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["case"], row["contender"], row["api_ms"]), []).append(row)
    order = list(NAMES)
    return dict(sorted(found.items(), key=lambda each: (each[0][0], each[0][2], order.index(each[0][1]))))


def outages(rows: Sequence[Row], case: str) -> str:
    """One table: how long packets were without an answer."""
    head = ["contender", "API latency", "runs", "min", "median", "p95", "p99", "max", "median by TCP", "packets lost"]
    body = []
    for (found, contender, latency), members in groups(rows).items():
        if found == case:
            sums = summarize([row["outage_ms"] for row in members])
            body.append(
                [NAMES[contender], f"{latency} ms", sums["runs"]]
                + [milliseconds(sums[key]) for key in ("min", "median", "p95", "p99", "max")]
                + [milliseconds(median([row["tcp_outage_ms"] for row in members]))]
                + [f"{median([row['lost'] for row in members]):.0f}"]
            )
    return table(head, body)


def splits(rows: Sequence[Row]) -> str:
    """Where the time of a hard death goes; medians."""
    body = []
    for (case, contender, latency), members in groups(rows).items():
        parts = [row["split"] for row in members if row.get("split")]
        if case == "kill" and parts:
            body.append(
                [NAMES[contender], f"{latency} ms", *(milliseconds(median([p[key] for p in parts])) for key in SPLIT)]
            )
    return table(["contender", "API latency", *SPLIT], body)


def steps(rows: Sequence[Row]) -> str:
    """The way of the takeovers of this collection, each step in milliseconds after the death; medians."""
    body = []
    for (case, contender, latency), members in groups(rows).items():
        found = [row["steps"] for row in members if row.get("steps")]
        if case == "kill" and contender in OURS and found:
            medians = [milliseconds(median([each[name] for each in found])) for name in STEPS]
            body.append([NAMES[contender], f"{latency} ms", *medians])
    return table(["contender", "API latency", *STEPS.values()], body) if body else sections.NOT_YET


def ratios(rows: Sequence[Row]) -> str:
    """Every median of a hard death, in units of the default profile's in the same run."""
    found = groups(rows)
    body = []
    for contender in NAMES:
        cells = []
        for latency in outage.LATENCIES:
            mine, theirs = found.get(("kill", "default", latency)), found.get(("kill", contender, latency))
            known = bool(mine and theirs)
            cells.append(f"{_middle(theirs) / _middle(mine):.1f}" if known else "–")  # type: ignore[arg-type]
        body.append([NAMES[contender], *cells])
    return table(["contender", *(f"API {latency} ms" for latency in outage.LATENCIES)], body)


def behaviour(rows: Sequence[Row]) -> str:
    """The stopped nodes, the owners of the routes at the end, and the dark time of each zone."""
    head = ["fault", "contender", "stopped", "routes at the end", "zone a dark", "zone b dark"]
    body = []
    for case, words in BEHAVIOUR.items():
        for (found, contender, _latency), members in groups(rows).items():
            if found == case:
                row = members[-1]
                owners = ", ".join(f"{zone}: {owner}" for zone, owner in sorted(row["owners"].items()))
                stopped = ", ".join(row["stopped"]) or "none"
                body.append([words, NAMES[contender], stopped, owners, *(_dark(row, zone) for zone in (0, 1))])
    return table(head, body)


def write(stores: Mapping[str, Store] | None = None, docs: Path = DOCS) -> list[str]:
    """Write the page and its plots; returns what was written. ``stores``: by part, where they are not those of the repository."""
    found = {name: (stores or {}).get(name) or part.store() for name, part in PARTS.items()}
    rows = {name: store.rows() for name, store in found.items()}
    if not rows["outage"]:
        raise FileNotFoundError("nothing is measured yet: run ./dev bench outage --quick first")
    plots = sections.plots(rows) | proxy_section.plots(rows["proxy"]) | flows_section.plots(rows["flows"])
    fields = {
        **{f"load {name}": _load(each) for name, each in rows.items()},
        "note": found["outage"].note(),
        "note attacks": found["attacks"].note(),
        "note surface": found["surface"].note(),
        "splits": splits(rows["outage"]),
        "steps": steps(rows["outage"]),
        "ratios": ratios(rows["outage"]),
        "limits": sections.limits(rows["outage"]),
        "behaviour": behaviour(rows["outage"]),
        **{case: outages(rows["outage"], case) for case in outage.TIMED},
        "footprint": sections.footprints(rows["footprint"]),
        "note forwarding": found["forwarding"].note(),
        "forwarding": sections.carried(rows["forwarding"]),
        "adoptions": sections.adoptions(rows["scale"]),
        "clusters": sections.clusters(rows["scale"]),
        "alarms": sections.false_takeovers(rows["alarms"]),
        "rollouts": sections.rollouts(rows["rollout"]),
        "rollout tasks": sections.rollout_tasks(rows["rollout"]),
        "forgeries": sections.forgeries(rows["attacks"]),
        "floods": sections.floods(rows["attacks"]),
        "nights": surface.nights(rows["surface"]),
        "proxies": proxy_section.ways(rows["proxy"]),
        "proxy goals": proxy_section.goals(rows["proxy"]),
        "proxy attacks": proxy_section.attacks(rows["proxy"]),
        "note proxy": found["proxy"].note(),
        "flows": flows_section.summary(rows["flows"]),
        "flow goals": flows_section.goals(rows["flows"]),
        "flow kinds": flows_section.kinds(rows["flows"]),
        "note flows": found["flows"].note(),
        "sync": flows_section.costs(rows["sync"]),
        "note sync": found["sync"].note(),
        "compared": _compared(PARTS.values(), found),
        **{f"plot {name}": _picture(name, plots) for name in PICTURES},
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in fields.items():
        text = text.replace("{{ " + name + " }}", value.rstrip("\n"))
    text = re.sub("\n{3,}", "\n\n", text)
    files = {"benchmarks.md": text, "images/outage.svg": _plot(rows["outage"]), **plots}
    for name, content in files.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(content, encoding="utf-8")
    return [f"docs/{name}" for name in files]


def _load(rows: Sequence[Row]) -> str:
    loads = [row["load"] for row in rows]
    return f"{min(loads):.1f} to {max(loads):.1f}, median {median(loads):.1f}" if loads else "not known"


def _picture(name: str, plots: Mapping[str, str]) -> str:
    """A link to a plot that there is."""
    path = f"images/{name}.svg"
    title = re.search("<title>(.*)</title>", plots.get(path, ""))
    return f"![{title[1]}]({path})" if title else ""


def _compared(parts: Iterable[Part], stores: Mapping[str, Store]) -> str:
    found = [line for part in parts for line in compare.lines(part, stores[part.name].path)]
    return compare.markdown(found) or "*No part was measured twice yet.*"


def _plot(rows: Sequence[Row]) -> str:
    """For each contender the run with the median outage."""
    lanes = []
    for (case, contender, latency), members in groups(rows).items():
        if case == "kill" and latency == 0:
            row = sorted(members, key=lambda each: float(each["outage_ms"]))[(len(members) - 1) // 2]
            lanes.append(Lane(NAMES[contender].replace("`", ""), row["gaps"], row["watched_s"]))
    end = max((lane.end for lane in lanes), default=1.0)
    return timeline("A NAT node dies: packets of zone a, answered (green) or not (red)", lanes, -1.0, end)


def _dark(row: Row, zone: int) -> str:
    text = f"{row['dark_s'][zone]:.1f} s"
    return text + " (still dark at the end)" if row["dark_at_end"][zone] else text


def _middle(rows: Sequence[Row]) -> float:
    return median([row["outage_ms"] for row in rows])
