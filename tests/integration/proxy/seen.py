# SPDX-License-Identifier: GPL-3.0-or-later
"""The observations of a client of the proxy."""

from __future__ import annotations

import json
import subprocess

from lab.downloads import Download

PUBLIC = {"nat-a": "203.0.113.10", "nat-b": "203.0.113.11"}


class Request(Download):
    """A download that came from the lab's web server, by one of the nodes."""

    @property
    def ok(self) -> bool:
        return self.status == 200 and self.text in PUBLIC.values()


def ended(process: subprocess.Popen[str]) -> list[Request]:
    """The observations of a client, in order."""
    output, _errors = process.communicate()
    return sorted(Request(*json.loads(line)) for line in output.splitlines())
