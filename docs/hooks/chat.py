# SPDX-License-Identifier: GPL-3.0-or-later
"""A hook of aws_ha.egress: writes each event into a chat, by an incoming webhook that takes {"text": ...}.

Its argument is a file with the webhook's address, a secret. Every user can read a command line, and this file
only the group: install -m 0640 -g nat-failover-read webhook.txt /etc/nat-failover-webhook
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

LATER = 75  # EX_TEMPFAIL: the hook is run again


def main() -> int:
    """Send the event of standard input. Returns 75 if the chat may take it later."""
    event = json.load(sys.stdin)
    text = "{cluster} {node}: {kind}: {text}".format(**event)
    request = urllib.request.Request(
        Path(sys.argv[1]).read_text(encoding="utf-8").strip(),
        data=json.dumps({"text": text}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5):
            return 0
    except urllib.error.HTTPError as error:
        sys.stderr.write(f"the chat answers {error.code}\n")  # not the address: it is a secret
        return LATER if error.code == 429 or error.code >= 500 else 1
    except OSError as error:
        sys.stderr.write(f"the chat does not answer: {type(error).__name__}\n")
        return LATER


if __name__ == "__main__":
    raise SystemExit(main())
