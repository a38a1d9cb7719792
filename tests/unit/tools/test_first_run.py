# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the first run, and settings of pip that become settings of uv."""

from __future__ import annotations

import pytest

from devtool import environment, first_run, venv


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["Python packages"], "once on this machine: Python packages; about 1 minute"),
        (list(first_run.COST), "Debian packages, Python packages, the machines' image; about 2 minutes"),
    ],
)
def test_the_first_run_says_what_it_makes_and_how_long_that_takes(names, said):
    assert first_run.announce(names).endswith(said)


def test_uv_asks_where_pip_asks(tmp_path, monkeypatch):
    for name in environment.PIP_VARIABLES:
        monkeypatch.delenv("PIP_" + name, raising=False)
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://one.example/simple\ncert = /a.pem\n")
    monkeypatch.setenv("PIP_INDEX_URL", "https://two.example/simple")
    settings = environment.pip_settings(tmp_path)
    found = venv.as_uv(settings)
    assert (found["UV_DEFAULT_INDEX"], found["SSL_CERT_FILE"]) == ("https://two.example/simple", "/a.pem")
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert set(found) - {"UV_DEFAULT_INDEX", "SSL_CERT_FILE", "UV_INDEX_STRATEGY"} <= set(venv.UV_VARIABLES.values())


def test_places_of_pip_that_are_not_there_are_not_asked(tmp_path):
    settings = {
        "find-links": f"{tmp_path} /nowhere",
        "extra-index-url": f"file:///nowhere https://x.example file://{tmp_path}",
    }
    found = venv.as_uv(settings)
    assert (found["UV_FIND_LINKS"], found["UV_INDEX"]) == (str(tmp_path), f"https://x.example file://{tmp_path}")
    assert "UV_FIND_LINKS" not in venv.as_uv({"find-links": "/nowhere"})


def test_the_lock_names_uv_with_its_hashes():
    assert venv.stanza_of_uv().startswith("uv==")
    assert "--hash=sha256:" in venv.stanza_of_uv()
