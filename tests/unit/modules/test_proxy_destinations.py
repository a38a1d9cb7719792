# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammar of destinations: what is written, what it means, what is refused, and that both renderings mean the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def grammar(collection):
    import importlib

    return importlib.import_module("ansible_collections.aws_ha.egress.plugins.plugin_utils.proxy_destinations")


MEANINGS = [
    ("a.test", ["a.test", "A.TEST", "a.test."], ["x.a.test", "ba.test", "a.test.evil", "test"]),
    (".a.test", ["a.test", "x.a.test", "y.x.a.test", "x.a.test."], ["ba.test", "a.test.evil", ".", ""]),
    ("*.a.test", ["x.a.test", "y.x.a.test"], ["a.test", "a.test.", ".a.test", "ba.test"]),
    (".test", ["test", "a.test"], ["atest", "a.test.evil"]),
    ("xn--bcher-kva.test", ["xn--bcher-kva.test"], ["bucher.test"]),
]


@pytest.mark.parametrize(("text", "meant", "not_meant"), MEANINGS, ids=[row[0] for row in MEANINGS])
def test_what_is_meant(grammar, text, meant, not_meant):
    destination = grammar.parse("proxy_destinations", text)
    assert str(destination) == text
    assert [host for host in meant if not destination.matches(host)] == []
    assert [host for host in not_meant if destination.matches(host)] == []


def test_umlauts_become_what_is_on_the_wire(grammar):
    assert str(grammar.parse("x", ".Bücher.test")) == ".xn--bcher-kva.test"


REFUSED = [
    ("http://a.test", "write a.test"),
    ("https://a.test:443/path?x", "write a.test"),
    ("a..test", "write a.test"),
    ("a.test.", "write a.test"),
    ("a.test:443", "write a.test"),
    ("user@a.test", "write a.test"),
    ("a.*.test", "is no host name"),
    ("*a.test", "is no host name"),
    ("*", "is no host name"),
    (".", "is no host name"),
    ("", "is no host name"),
    (None, "None is no host name"),
    (443, "443 is no host name"),
    ("a b.test", "is no host name"),
    ("-a.test", "is no host name"),
    ("a" * 64 + ".test", "is no host name"),
    ("localhost", "has no domain"),
    ("10.0.0.1", "is an address"),
    (".0.0.1", "is an address"),
    ("::1", "is an address"),
    ("[2001:db8::1]", "is an address"),
    ("0x7f.1", "is an address"),
    ("a.test\nb.test", "is no host name"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[repr(row[0]) for row in REFUSED])
def test_what_is_refused_with_key_value_and_remedy(grammar, text, words):
    with pytest.raises(ValueError, match="^proxy_destinations: ") as refusal:
        grammar.parse("proxy_destinations", text)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (".a.test", "x.a.test"),
        (".a.test", "a.test"),
        (".a.test", "*.a.test"),
        ("*.a.test", ".x.a.test"),
        ("a.test", "a.test"),
    ],
)
def test_an_entry_within_another_is_named(grammar, wide, narrow):
    for texts in ([wide, narrow], [narrow, wide]):
        with pytest.raises(ValueError, match=re.escape(f"{narrow} is contained in {wide}")):
            grammar.parse_all("proxy_destinations", texts)
    assert len(grammar.parse_all("proxy_destinations", ["*.a.test", "a.test", "b.test"])) == 3


LABEL = st.from_regex(r"[a-c]([a-c-]{0,2}[a-c])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
TEXT = st.tuples(st.sampled_from(["", ".", "*."]), NAME).map("".join)
# Names near the listed ones, and what is no name at all.
HOST = st.one_of(NAME, TEXT, st.text("abAB.-_1*/@:#%\\ ", max_size=12))


@given(
    text=TEXT,
    host=HOST,
    before=st.sampled_from(["", "x.", "x", ".", "evil."]),
    after=st.sampled_from(["", ".", ".evil", "x"]),
)
def test_the_regular_expression_means_what_the_grammar_means(grammar, text, host, before, after):
    destination = grammar.parse("x", text)
    for asked in (host, before + destination.name + after):
        found = re.search(grammar.as_regex(destination), asked.lower()) is not None
        plain = re.fullmatch(r"[a-z0-9_.-]*", asked.lower()) is not None
        if plain:
            assert found == destination.matches(asked), asked
        else:
            assert not found, asked  # a name with other letters is never let through


@given(one=TEXT, other=TEXT, host=NAME)
def test_what_covers_another_means_all_that_it_means(grammar, one, other, host):
    wide, narrow = grammar.parse("x", one), grammar.parse("x", other)
    if wide.covers(narrow):
        assert wide.matches(host) or not narrow.matches(host)


def test_squid_gets_a_tree_where_it_has_one_and_expressions_for_the_rest(grammar):
    found = grammar.for_squid(grammar.parse_all("x", ["a.test", ".b.test", "*.c.test"]))
    assert found == {"dstdomain": ["a.test", ".b.test"], "dstdom_regex": [r"^[a-z0-9_.-]+\.c\.test\.?$"]}
