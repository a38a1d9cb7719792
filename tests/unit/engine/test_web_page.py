# SPDX-License-Identifier: GPL-3.0-or-later
"""The live page: whole without JavaScript, without an external asset, and with every text of others escaped."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from nat_failover.model.evidence import FAILED
from nat_failover.service.status import status
from nat_failover.web import page
from nat_failover.web.snapshot import Snapshot

from .standing import CLAIM_B, moving, standing
from .test_web_metrics import route, verdict

NONCE = "n0nce"
LARGEST = 24_000  # bytes of a page of two zones


def seen(parts, **changes):
    return Snapshot({**json.loads(json.dumps(status(parts))), **changes}, "", 0.0)


class Reader(HTMLParser):
    """The tags of a document and its visible text; fails on a tag that is not closed."""

    EMPTY = ("meta",)

    def __init__(self, document):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(document)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def having(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


def test_a_quiet_cluster_is_well_in_words_and_shape():
    read = Reader(page.render(seen(standing()), "nat-a", NONCE))
    assert read.words[0] == "● well nat-a"  # the title of the tab
    assert "clients of nat-a" in read.text and "clients of nat-b" in read.text
    assert "● leads out" in read.text and "LEADS NOWHERE" not in read.text


def test_a_dark_route_is_named_with_its_remedy():
    parts = standing()
    verdict(parts, FAILED)
    read = Reader(page.render(seen(parts), "nat-a", NONCE))
    assert read.words[0].startswith("■ CRITICAL")
    assert "■ LEADS NOWHERE" in read.text and "do: " in read.text and "DARK" in read.text


def test_a_route_away_from_home_is_shown_where_it_leads():
    parts = standing()
    route(parts, CLAIM_B, parts.collector.instances["nat-a"].interface_id)
    text = Reader(page.render(seen(parts), "nat-a", NONCE)).text
    assert "away from home" in text


def test_an_old_reading_is_not_the_present():
    parts = standing()
    route(parts, CLAIM_B, parts.collector.instances["nat-b"].interface_id, age=90.0)
    assert "last seen nat-b" in Reader(page.render(seen(parts), "nat-a", NONCE)).text


@pytest.mark.parametrize(
    "snapshot, words",
    [
        (Snapshot(None, "no answer within 2 s"), "the service of nat-a does not answer: no answer within 2 s"),
        (Snapshot({"node": "nat-a"}, ""), "the service is of another version: restart it"),
    ],
)
def test_without_a_status_the_page_says_so(snapshot, words):
    read = Reader(page.render(snapshot, "nat-a", NONCE))
    assert words in read.text and read.words[0] == "? UNKNOWN nat-a"


EVIL = "<script>alert(1)</script>\"'&\x1b[31m"


def test_text_of_others_is_escaped():
    problems = [{"code": EVIL, "level": EVIL, "subject": EVIL, "text": EVIL, "do": EVIL, "since_s": 1.0}]
    parts = standing()
    parts.events.emit("drift", EVIL)
    changes = {"cluster": EVIL, "node": EVIL, "problems": problems, "state": EVIL, "summary": EVIL}
    document = page.render(seen(parts, **changes), EVIL, NONCE)
    read = Reader(document)
    assert len(read.having("script")) == 1 and read.having("script")[0] == {"nonce": NONCE}
    assert "alert(1)</script>" not in document.replace("&lt;script&gt;alert(1)&lt;/script&gt;", "")
    assert "\x1b" not in document


def test_the_page_needs_nothing_but_itself():
    document = page.render(seen(standing()), "nat-a", NONCE)
    read = Reader(document)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", document)
    assert [attrs for _tag, attrs in read.tags if {"src", "href", "style", "onclick"} & set(attrs)] == []
    assert len(document.encode()) <= LARGEST


def test_a_browser_may_run_the_page_s_own_script_only():
    policy = page.policy(NONCE)
    assert "default-src 'none'" in policy and policy.count(f"'nonce-{NONCE}'") == 2
    assert "unsafe" not in policy and "*" not in policy


def test_without_javascript_the_page_is_renewed():
    read = Reader(page.render(seen(standing()), "nat-a", NONCE))
    assert {"http-equiv": "refresh", "content": "10"} in read.having("meta") and read.having("noscript")


def test_the_newest_events_come_first_and_are_bounded():
    parts = standing()
    for number in range(30):
        parts.events.emit("drift", f"line {number}")
    text = Reader(page.render(seen(parts), "nat-a", NONCE)).text
    assert text.index("line 29") < text.index("line 28") < text.index("line 20") and "line 19" not in text


def test_identities_are_on_the_page_where_there_are_any():
    assert "Identities" not in Reader(page.render(seen(standing()), "nat-a", NONCE)).text
    text = Reader(page.render(seen(moving(routes="nat-a")), "nat-a", NONCE)).text
    assert "Identities nat-b Elastic IP 203.0.113.11 is with nat-b routes with nat-a follows NO" in text
