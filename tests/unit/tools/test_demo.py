# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's judgement of what it has seen, and the figures of a client's downloads."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import authority, downloads
from lab.demo import __main__ as demo
from lab.demo import identities, nat, proxy
from lab.demo.updates import Updates
from lab.downloads import Download, Downloads

GOOD = {
    "outage_ms": 812,
    "other_zone_failed": 0,
    "updates_failed": 0,
    "fenced": 1,
    "returned": True,
    "second_run_changed": 0,
}


def download(begun: float, took: float = 0.1, status: int = 200) -> Download:
    return Download(begun, begun + took, "http", status, "203.0.113.10")


@pytest.mark.parametrize(
    ("seen", "outage"),
    [
        ([download(9.9), download(10.1), download(10.2)], 0.0),
        ([download(9.8), download(10.0, 1.0, 0), download(10.5, 1.0, 0), download(10.8)], 900.0),
        # An answer between two failures ends no outage.
        ([download(10.0, 1.0, 0), download(10.3), download(10.4, 1.0, 0), download(11.0)], 1100.0),
        ([download(9.9), download(10.0, 1.0, 0)], None),
        # A failure from before the fault, which ended before it, does not count.
        ([download(8.0, 1.0, 0), download(10.1)], 0.0),
    ],
)
def test_an_outage_lasts_until_no_failure_follows(seen: list[Download], outage: float | None) -> None:
    found = downloads.outage_ms(seen, 10.0)
    assert found == (outage if outage is None else pytest.approx(outage))


@pytest.mark.parametrize(
    "bad",
    [
        {"outage_ms": None},
        {"other_zone_failed": 1},
        {"updates_failed": 1},
        {"fenced": 0},
        {"fenced": 2},
        {"returned": False},
    ],
)
def test_the_demo_of_the_proxy_fails_when_not_all_is_as_it_must(bad: dict[str, object]) -> None:
    assert proxy.as_it_must(GOOD)
    assert not proxy.as_it_must({**GOOD, **bad})


@pytest.mark.parametrize("bad", [{"second_run_changed": 3}, {"fenced": 0}, {"returned": False}])
def test_the_demo_of_nat_does_so_as_well(bad: dict[str, object]) -> None:
    assert nat.as_it_must(GOOD)
    assert not nat.as_it_must({**GOOD, **bad})


@pytest.mark.parametrize(
    "bad", [{"broken": ["down"]}, {"one_address": False}, {"fenced": 2}, {"fenced": 0}, {"returned": False}]
)
def test_the_demo_of_identities_does_so_as_well(bad: dict[str, object]) -> None:
    good = {"broken": [], "one_address": True, "fenced": 1, "returned": True}
    assert identities.as_it_must(good)
    assert not identities.as_it_must({**good, **bad})


def test_downloads_that_no_proxy_takes_fail_and_are_told(tmp_path: Path) -> None:
    authority.make(tmp_path, ["www.lab.test"])
    with Downloads(subprocess.Popen, tmp_path, "127.0.0.1", str(tmp_path / authority.CA), "www.lab.test") as made:
        end = time.monotonic() + 20
        while not made.seen():
            assert time.monotonic() < end
            time.sleep(0.05)
        with pytest.raises(TimeoutError, match="no download for 0.1 s"):
            made.wait_for_answer(0.1, 0.0)
    assert {each.ok for each in made.seen()} == {False}
    assert "refused" in made.seen()[0].text.lower()


def apt(tmp_path: Path, code: int) -> list[str]:
    """A stand-in for the command of a client: it notes the settings, and ends with a code."""
    script = (
        f"import os, pathlib, sys; pathlib.Path({str(tmp_path)!r}, 'seen').write_text(sys.argv[2]); sys.exit({code})"
    )
    return [sys.executable, "-c", script]


def test_updates_go_on_one_after_the_other_with_settings_of_their_own(tmp_path: Path) -> None:
    with Updates(lambda *argv: [*apt(tmp_path, 0), *argv], tmp_path, "192.0.2.1") as made:
        end = time.monotonic() + 20
        while len(made.done) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
    first, second = made.done[:2]
    assert (first.code, second.begun >= first.ended) == (0, True)
    assert made.across(first.begun) == first and made.across(first.ended + 1e-9) == second
    assert made.across(float("inf")) is None
    assert "ended well" in str(first)
    said = (tmp_path / "seen").read_text()
    config = Path(said.removeprefix("APT_CONFIG="))
    assert 'Acquire::http::Proxy "http://192.0.2.1:3128";' in config.read_text()


def test_an_update_that_fails_says_so(tmp_path: Path) -> None:
    with Updates(lambda *argv: [*apt(tmp_path, 100), *argv], tmp_path, "192.0.2.1") as made:
        end = time.monotonic() + 20
        while not made.done:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert made.done[0].code == 100 and str(made.done[0]).startswith("apt-get update failed")


def test_an_engine_is_of_the_proxy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["demo", "--engine", "tinyproxy"])
    with pytest.raises(SystemExit) as end:
        demo.main()
    assert end.value.code == 2
    assert "./dev demo proxy --engine tinyproxy" in capsys.readouterr().err
