# SPDX-License-Identifier: GPL-3.0-or-later
"""Where this machine gets its Debian packages from, and what it checks them by. Standard library only: ./dev imports this."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import Prerequisite

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Mirror:
    """An archive, the file of the keys that sign it, and the proxy on the way to it."""

    url: str
    keyring: str
    proxy: str | None

    def source(self, suite: str) -> str:
        """The line of sources.list for a suite. Without the key ring nothing could be checked, so it is a ``Prerequisite``."""
        if not Path(self.keyring).is_file():
            raise Prerequisite(
                f"the key ring {self.keyring} is not there, so packages of {self.url} cannot be checked; "
                "on Debian: apt-get install debian-archive-keyring"
            )
        return f"deb [signed-by={self.keyring}] {self.url} {suite} main"


def mirror(etc: Path = Path("/etc/apt")) -> Mirror:
    """This machine's own archive, key ring and proxy."""
    found = next(_one_line_sources(etc), None) or next(_deb822_sources(etc), None)
    url, keyring = found or ("http://deb.debian.org/debian", None)
    return Mirror(url, keyring or KEYRING, _proxy(url))


def _one_line_sources(etc: Path) -> Iterator[tuple[str, str | None]]:
    for file in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]:
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            match = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line.strip())
            if match and _is_debian(match[3].split(), match[4].split()):
                signed = re.search(r"signed-by=(\S+)", match[1] or "")
                yield match[2], signed[1] if signed else None


def _deb822_sources(etc: Path) -> Iterator[tuple[str, str | None]]:
    for file in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text(encoding="utf-8")):
            lines = [line for line in stanza.splitlines() if not line.startswith("#")]
            fields = {
                key.strip().lower(): value.strip() for key, _colon, value in (line.partition(":") for line in lines)
            }
            off = fields.get("enabled", "yes").lower() == "no"
            if not off and _is_debian(fields.get("suites", "").split(), fields.get("components", "").split()):
                yield fields["uris"].split()[0], fields.get("signed-by")


def _is_debian(suites: list[str], components: list[str]) -> bool:
    """Debian's main archive of any release, which has the image's suite too; not its security archive and nobody else's."""
    releases = {"stable", "bullseye", "bookworm", "trixie", "forky", "sid"}
    return "main" in components and bool(releases & set(suites))


def _proxy(url: str) -> str | None:
    scheme = url.partition(":")[0]
    done = subprocess.run(
        ["apt-config", "shell", "PROXY", f"Acquire::{scheme}::Proxy"], capture_output=True, text=True, check=False
    )
    match = re.match(r"PROXY='(.+)'", done.stdout)
    return match[1] if match and match[1] != "DIRECT" else None
