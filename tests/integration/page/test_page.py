# SPDX-License-Identifier: GPL-3.0-or-later
"""The words and the looks of the live page while things happen: it is opened once, and renews itself."""

from __future__ import annotations

from tests.integration.page.conftest import ADDRESS, PORT, Page


def at_rest(page: Page) -> None:
    """Nothing is wrong, and the page says so."""
    page.says("● well;", "clients of nat-a", "clients of nat-b")
    page.until("the tab says so", lambda: page.browser.title() == "● well nat-a")


def test_a_quiet_cluster_is_well_in_words(page: Page) -> None:
    at_rest(page)
    text = page.browser.text()
    assert text.count("● leads out") == 2 and "LEADS NOWHERE" not in text
    assert "healthy since" in text and "this node; mode full" in text
    assert page.unmarked() == []
    page.look("well", "well")


def test_a_partition_is_no_death(page: Page) -> None:
    at_rest(page)
    page.cluster.lab.fault("cut", "nat-b", peer="nat-a")
    try:
        text = page.says("partitioned since", "▲ DEGRADED", "do: check the security groups")
        assert "LEADS NOWHERE" not in text and "failed since" not in text and "● leads out" in text
        assert page.unmarked() == []
        page.look("partition", "DEGRADED")
    finally:
        page.cluster.lab.heal()
    at_rest(page)


def test_a_dead_service_is_unknown_and_not_well(page: Page) -> None:
    at_rest(page)
    page.cluster.service("nat-a").kill()
    page.cluster.service("nat-a").wait()
    text = page.says("? UNKNOWN: the service of nat-a does not answer", "do: systemctl status nat-failover")
    assert "well" not in text and "leads out" not in text, "no word of the past is shown as of now"
    assert page.unmarked() == []
    page.look("dead-service", "UNKNOWN")
    page.cluster.start(page.cluster.lab.host("nat-a"))
    at_rest(page)


def test_a_page_without_contact_shows_that_it_shows_the_past(page: Page) -> None:
    at_rest(page)
    page.stop()
    text = page.says("NO CONTACT for ", " s: this page shows the past")
    assert "clients of nat-a" in text, "the last status is still there to read"
    assert page.browser.run("return document.body.className") == "lost"
    page.look("no-contact", "NO CONTACT")
    page.serve()
    page.until("the contact is back", lambda: "NO CONTACT" not in page.browser.text())
    at_rest(page)


def test_a_refused_takeover_is_dark_with_its_remedy_and_a_takeover_is_shown_where_it_leads(page: Page) -> None:
    at_rest(page)
    lab = page.cluster.lab
    table = lab.ids.zones["b"].route_table
    lab.fault("api", action="ReplaceRoute", error="UnauthorizedOperation", caller="nat-a")
    lab.fault("kill", "nat-b")
    text = page.says("■ DARK for ", "▲ degraded: action_refused", "UnauthorizedOperation")
    assert "1 of 2 routes lead nowhere" in text and "■ LEADS NOWHERE" in text and "● leads out" in text
    assert f"do: allow ec2:ReplaceRoute on route-table {table}" in text
    assert page.unmarked() == []
    page.look("refused", "CRITICAL")
    lab.clear_faults()
    text = page.says("● leads out, away from home", "▲ DEGRADED")
    assert "LEADS NOWHERE" not in text and text.count("● leads out") == 2
    assert f"{table} 0.0.0.0/0 → nat-a" in text and "failed since" in text and "adopt: " in text
    assert page.unmarked() == []
    page.look("takeover", "DEGRADED")
    assert lab.owner("b") == "nat-a"


def test_no_page_asked_for_anything_of_others_and_the_browser_refused_nothing(page: Page) -> None:
    """The last one: it looks back at all requests of the tests before it."""
    page.load()
    page.says("Last events")
    asked = page.browser.requests()
    assert len(asked) > 1 and {url for url in asked if not url.startswith(f"http://{ADDRESS}:{PORT}/")} == set()
    said = page.browser.complaints()
    assert [line for line in said if "Content Security Policy" in line or "Uncaught" in line] == []
