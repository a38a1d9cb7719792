# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of each child: the checkout's tools first on PATH, a UTF-8 locale, no litter in the real home."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from devtool import paths

# Settings that ansible-test would not hand on to its pip, written to a pip.conf of the scratch home instead.
PIP_VARIABLES = (
    "INDEX_URL",
    "EXTRA_INDEX_URL",
    "FIND_LINKS",
    "NO_INDEX",
    "TRUSTED_HOST",
    "CERT",
    "PROXY",
    "DEFAULT_TIMEOUT",
)


def base() -> dict[str, str]:
    """For anything that runs from the checkout."""
    env = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "ANSIBLE_CONFIG"):
        env.pop(name, None)
    env.update(
        PATH=os.pathsep.join([str(paths.VENV / "bin"), env.get("PATH", os.defpath), "/usr/sbin", "/sbin"]),
        LC_ALL="C.UTF-8",
        # Thousands of Pythons start during the tests: each file is compiled once, and nothing of root lies beside a source.
        PYTHONPYCACHEPREFIX=str(paths.BYTECODE),
        ANSIBLE_COLLECTIONS_PATH=str(paths.LIVE),
        ANSIBLE_CACHE_PLUGIN="memory",  # a cache on disk goes by the host's name, which another lab's host has too
    )
    return env


def for_log() -> dict[str, str]:
    """The same, for what writes into a log."""
    # safe.directory: root may test a checkout that belongs to somebody else, and the tools ask git for its files.
    git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": str(paths.ROOT)}
    return {**base(), **git, "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"}


def with_home(name: str) -> dict[str, str]:
    """The same, with a home folder of its own."""
    home = paths.scratch_home(name)
    env = for_log()
    env.update(HOME=str(home), ANSIBLE_HOME=str(home / ".ansible"))
    env.pop("XDG_CONFIG_HOME", None)
    env.pop("XDG_CACHE_HOME", None)
    keep_pip_settings(home)
    return env


def pip_settings(home: Path) -> dict[str, str]:
    """The operator's settings of pip, by their names in pip.conf: the files of the machine and of the home, then PIP_... variables."""
    parser = configparser.RawConfigParser(strict=False)
    files = (Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf")
    parser.read(files, encoding="utf-8")
    found = dict(parser["global"]) if parser.has_section("global") else {}
    given = {name.lower().replace("_", "-"): os.environ.get("PIP_" + name) for name in PIP_VARIABLES}
    return {**found, **{name: value for name, value in given.items() if value}}


def keep_pip_settings(home: Path) -> None:
    """Let pip in a scratch home use the operator's index and proxy: from pip.conf and from PIP_... variables."""
    settings = configparser.RawConfigParser(strict=False)
    settings.read([Path.home() / ".pip" / "pip.conf", Path.home() / ".config" / "pip" / "pip.conf"], encoding="utf-8")
    for name in PIP_VARIABLES:
        value = os.environ.get("PIP_" + name)
        if value:
            if not settings.has_section("global"):
                settings.add_section("global")
            settings.set("global", name.lower().replace("_", "-"), value)
    target = home / ".config" / "pip" / "pip.conf"
    target.unlink(missing_ok=True)
    if settings.sections():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        with target.open("w", encoding="utf-8") as sink:
            settings.write(sink)
