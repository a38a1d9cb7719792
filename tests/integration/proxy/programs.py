# SPDX-License-Identifier: GPL-3.0-or-later
"""Real programs with the environment of a proxy's client, in a network namespace where nothing is but a proxy: which of them ask it for what?

Run as a file: variables and URLs in (JSON), for each program and URL whether the proxy was asked (JSON).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from urllib.parse import urlsplit

LIMIT_S = 20
# No settings of this machine.
OF_NOBODY = {"AWS_EC2_METADATA_DISABLED": "true", "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
URLLIB = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)"
REQUESTS = "import sys, requests; requests.get(sys.argv[1], timeout=2)"
BOTOCORE = """
import sys, botocore.config, botocore.session
config = botocore.config.Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1})
keys = {"aws_access_key_id": "a" * 20, "aws_secret_access_key": "b" * 40}
client = botocore.session.get_session().create_client("sts", "eu-west-1", endpoint_url=sys.argv[1], config=config, **keys)
client.get_caller_identity()
"""


PIP = ["-m", "pip", "download", "--no-deps", "--retries", "0", "--timeout", "2", "--dest", tempfile.gettempdir()]
# How each fetches a URL. pip asks a server without TLS only when it is told to trust it.
COMMANDS = {
    "curl": ["/usr/bin/curl", "--silent", "--max-time", "4", "--output", os.devnull, "URL"],
    "wget": ["/usr/bin/wget", "--quiet", "--tries=1", "--timeout=2", "--output-document", os.devnull, "URL"],
    "pip": [sys.executable, *PIP, "--index-url", "URL", "--trusted-host", "HOST", "no-such-package"],
    "urllib": [sys.executable, "-c", URLLIB, "URL"],
    "requests": [sys.executable, "-c", REQUESTS, "URL"],
    "botocore": [sys.executable, "-c", BOTOCORE, "URL"],
}


class Proxy:
    """Notes the first line of each request, and refuses it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _peer = self._server.accept()
            with connection:
                self.asked.append(connection.recv(4096).split(b"\r\n")[0].decode("ascii", "replace"))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def main() -> None:
    """Read, run, write."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    given, proxy, found = json.load(sys.stdin), Proxy(), {}
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    variables = {name: value.replace("PORT", str(proxy.port)) for name, value in given["variables"].items()}
    for program, command in COMMANDS.items():
        for url in given["urls"]:
            proxy.asked.clear()
            subprocess.run(
                [{"URL": url, "HOST": urlsplit(url).netloc}.get(word, word) for word in command],
                env={**kept, **variables, **OF_NOBODY},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=LIMIT_S,
                check=False,
            )
            found[f"{program} {url}"] = list(proxy.asked)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
