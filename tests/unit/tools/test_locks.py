# SPDX-License-Identifier: GPL-3.0-or-later
"""Every list of Python packages is a lock: exact versions with hashes, made from a list of wanted packages."""

from __future__ import annotations

import re

import pytest

from devtool import lock, paths

FILES = sorted({*paths.ROOT.glob("requirements*.txt"), *paths.TESTS.glob("requirements*.txt")})


def test_each_list_of_packages_is_renewed_by_dev_lock():
    assert [each.path for each in lock.LOCKS if not each.wanted.is_file()] == []
    assert sorted(each.path for each in lock.LOCKS) == FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_package_of_a_lock_has_a_hash(path):
    text = path.read_text(encoding="utf-8")
    packages = re.split(r"\n(?=\w)", text.partition("\n")[2].strip())
    assert packages
    assert [
        each for each in packages if not re.match(r"[\w.\[\],-]+==\S+.*\\\n +--hash=sha256:[0-9a-f]{64}", each)
    ] == []


def test_a_package_with_a_version_for_each_python_is_read_with_all_of_them():
    text = "a==1 ; python_full_version < '3.10' \\\n    --hash=sha256:0\na==2 \\\n    --hash=sha256:1\nb==3 \\\n"
    assert lock._pins(text) == {"a": "1, 2", "b": "3"}


def test_hashes_come_from_the_index_alone(monkeypatch):
    """A folder of this machine with one wheel of a package hid the hashes of its other wheels, and so all other Pythons."""
    beside = {"UV_FIND_LINKS": "/opt/wheels", "UV_INDEX": "file:///opt/simple", "UV_DEFAULT_INDEX": "https://i.example"}
    monkeypatch.setattr(lock.venv, "uv_environment", lambda: dict(beside))
    assert lock.of_the_index() == {"UV_DEFAULT_INDEX": "https://i.example"}


def test_a_lock_is_resolved_anew_from_its_versions_only():
    text = "# The lock\na==1 ; python_full_version < '3.10' \\\n    --hash=sha256:0 \\\n    --hash=sha256:1\nb==3\n"
    assert lock.without_hashes(text) == "a==1 ; python_full_version < '3.10'\nb==3\n"


def test_a_wheel_of_one_python_is_never_the_only_one():
    """greenlet is built for each Python: with one hash, the others could not install it."""
    stanza = re.search(r"(?m)^greenlet==(?:.*\\\n)+.*$", paths.LOCK.read_text(encoding="utf-8"))
    assert stanza and stanza[0].count("--hash") > 20
