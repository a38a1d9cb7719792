# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live page: one status as one HTML document, without any external asset. Pure.

The document is whole without JavaScript. The script asks for the same document every two seconds,
and puts its ``main`` in place of the old one. So each word is made here, once, and escaped. The
script leaves out the style, which has another nonce.
"""

from __future__ import annotations

import html
import typing as t

from ..model import screen
from ..model.text import plain
from .snapshot import Snapshot

CONTENT_TYPE = "text/html; charset=utf-8"
EVENTS = 10  # the newest ones on the page
SHAPES = {"well": "●", "degraded": "▲", "critical": "■", "unknown": "?"}  # a level is never colour alone
SERVED = {True: "leads out", False: "LEADS NOWHERE", None: "not known"}
DEAD = "do: systemctl status nat-failover; read the page of a peer, which knows who serves the routes"
TITLES = {"well": "well", "degraded": "DEGRADED", "critical": "CRITICAL", "unknown": "UNKNOWN"}

STYLE = """
:root{color-scheme:light dark;--well:#116329;--degraded:#8a4b00;--critical:#b3001b;--unknown:#57606a;--line:#8886}
@media(prefers-color-scheme:dark){:root{--well:#7ee787;--degraded:#ffb757;--critical:#ff8182;--unknown:#b1bac4}}
*{box-sizing:border-box}body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:62rem}
h1{font-size:1.25rem;margin:0 0 .25rem}h2{font-size:1rem;margin:1.5rem 0 .5rem}p{margin:.25rem 0}
.well{color:var(--well)}.degraded{color:var(--degraded)}.critical{color:var(--critical)}.unknown{color:var(--unknown)}
.card{border:1px solid var(--line);border-left:.4rem solid;border-radius:.3rem;padding:.5rem .75rem;margin:.5rem 0}
.card p,.card code{color:CanvasText}code,time{font:.875rem/1.45 ui-monospace,monospace;overflow-wrap:anywhere}
.zones,.nodes{display:grid;gap:.5rem;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr))}
.zone,.node{border:1px solid var(--line);border-radius:.3rem;padding:.5rem .75rem;overflow-wrap:anywhere}
.way{display:flex;gap:.5rem;align-items:baseline;flex-wrap:wrap;margin:.25rem 0}
dl{display:grid;grid-template-columns:auto 1fr;gap:0 .75rem;margin:.25rem 0}dd{margin:0;overflow-wrap:anywhere}
ol{list-style:none;margin:0;padding:0}li{border-top:1px solid var(--line);padding:.25rem 0;overflow-wrap:anywhere}
#contact{font-weight:bold}#contact:not(:empty){margin-bottom:.75rem}
body.lost main{filter:grayscale(1);outline:2px dashed;outline-offset:.3rem}
@media(max-width:600px){.zones,.nodes{grid-template-columns:1fr}body{padding:.75rem}}
"""
SCRIPT = """
(function(){
var seen=Date.now(),busy=false,contact=document.getElementById("contact");
function lost(){
  var seconds=Math.round((Date.now()-seen)/1000);
  document.body.classList.add("lost");
  contact.textContent="NO CONTACT for "+seconds+" s: this page shows the past";
  document.title="NO CONTACT "+document.body.dataset.node;
}
async function ask(){
  if(busy||document.hidden)return;
  busy=true;
  try{
    var answer=await fetch("/",{cache:"no-store",signal:AbortSignal.timeout(4000)});
    if(!answer.ok)throw new Error(answer.status);
    var text=(await answer.text()).replace(/<style[^]*?<.style>/,"");
    var made=new DOMParser().parseFromString(text,"text/html"),part=made.querySelector("main");
    if(!part)throw new Error("no page");
    document.querySelector("main").replaceWith(document.importNode(part,true));
    document.title=made.title;document.body.classList.remove("lost");contact.textContent="";seen=Date.now();
  }catch(error){lost();}
  busy=false;
}
setInterval(ask,2000);document.addEventListener("visibilitychange",ask);
})();
"""


def policy(nonce: str) -> str:
    """The Content-Security-Policy of the page: its own style, its own script, its own server."""
    return (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def render(snapshot: Snapshot, node: str, nonce: str) -> str:
    """The document. ``node``: the name of this node, for the time in which its service is silent."""
    status = snapshot.status
    if status is None:
        sentence = f"UNKNOWN: the service of {node} does not answer: {snapshot.problem}"
        level, body = "unknown", _headline("unknown", sentence, f"<p><code>{_text(DEAD)}</code></p>")
    elif "problems" not in status:
        level, body = "unknown", _headline("unknown", "the service is of another version: restart it")
    else:
        level, body = str(status["level"]), _whole(status)
    level = level if level in SHAPES else "unknown"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<noscript><meta http-equiv="refresh" content="10"></noscript>'
        f"<title>{SHAPES[level]} {TITLES[level]} {_text(node)}</title>"
        f'<style nonce="{nonce}">{STYLE}</style></head><body data-node="{_text(node)}">'
        f'<p id="contact" role="alert" class="critical"></p><main>{body}</main>'
        f'<script nonce="{nonce}">{SCRIPT}</script></body></html>\n'
    )


def _text(value: t.Any) -> str:
    return html.escape(plain(str(value)))


def _headline(level: str, sentence: str, below: str = "") -> str:
    shape = SHAPES.get(level, SHAPES["unknown"])
    return f'<h1 class="{_text(level)}"><span aria-hidden="true">{shape}</span> {_text(sentence)}</h1>{below}'


def _whole(status: screen.Answer) -> str:
    place = f"{status['node']} of cluster {status['cluster']}, read at "
    below = f"<p>{_text(place)}<time>{_text(screen.clock(status['at']))}</time></p>"
    parts = [_headline(str(status["level"]), screen.headline(status), below)]
    parts += [_problem(each) for each in status["problems"]]
    if status["claims"]:
        parts.append(f'<h2>Routes</h2><div class="zones">{_zones(status["claims"])}</div>')
    if screen.identities(status):
        parts.append(f'<h2>Identities</h2><div class="nodes">{"".join(_boxes(screen.identities(status)))}</div>')
    parts.append(f'<h2>Nodes</h2><div class="nodes">{"".join(_boxes(screen.nodes(status)))}</div>')
    parts.append(f"<h2>Last events</h2><ol>{_events(status)}</ol>")
    return "".join(parts)


def _problem(each: t.Mapping[str, t.Any]) -> str:
    since = "" if each["since_s"] is None else f" (for {screen.age(each['since_s'])})"
    level = str(each["level"])
    shape = SHAPES.get(level, SHAPES["unknown"])
    title = f"{shape} {level}: {each['code']}{since}"
    return (
        f'<section class="card {_text(level)}"><strong>{_text(title)}</strong><p>{_text(each["text"])}</p>'
        f"<p><code>do: {_text(each['do'])}</code></p></section>"
    )


def _zones(claims: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """One column for each home: its routes, and the node that each leads to."""
    homes: dict[str, list[t.Mapping[str, t.Any]]] = {}
    for claim in claims:
        homes.setdefault(str(claim["home"]), []).append(claim)
    return "".join(
        f'<div class="zone"><strong>clients of {_text(home)}</strong>{"".join(map(_way, rows))}</div>'
        for home, rows in sorted(homes.items())
    )


def _way(claim: t.Mapping[str, t.Any]) -> str:
    owner = claim["owner"] or claim["target"] or "no target"
    owner = owner if claim["state"] == "active" else f"{owner} ({claim['state']})"
    owner = f"last seen {owner}" if claim["old"] else owner
    level = {True: "well", False: "critical", None: "unknown"}[claim["served"]]
    away = "" if claim["at_home"] else ", away from home"
    return (
        f'<p class="way"><code>{_text(claim["route_table"])} {_text(claim["destination"])}</code>'
        f'<span aria-label="leads to">→</span> <strong>{_text(owner)}</strong> '
        f'<span class="{level}">{SHAPES[level]} {SERVED[claim["served"]]}{away}</span></p>'
    )


def _boxes(table: t.Sequence[t.Sequence[str]]) -> t.Iterator[str]:
    """A box for each row of ``status`` after its headings, with the cells as pairs."""
    heads, *rows = table
    for row in rows:
        pairs = "".join(
            f"<dt>{_text(head)}</dt><dd>{_text(value)}</dd>" for head, value in zip(heads[1:], row[1:]) if value != "-"
        )
        yield f'<div class="node"><strong>{_text(row[0])}</strong><dl>{pairs}</dl></div>'


def _events(status: screen.Answer) -> str:
    return "".join(map(_event, list(status["events"])[-EVENTS:][::-1]))


def _event(event: t.Mapping[str, t.Any]) -> str:
    at = screen.clock(event["at"], "%H:%M:%SZ")
    return f"<li><time>{_text(at)}</time> {_text(event['kind'])}: {_text(event['text'])}</li>"
