# SPDX-License-Identifier: GPL-3.0-or-later
"""The hooks that ship as examples: what they send, and what they answer when nobody takes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from nat_failover.hooks import settings

ROOT = Path(__file__).resolve().parents[2]
HOOKS = ROOT / "docs" / "hooks"
PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
EVENT = {"schema": 1, "cluster": "prod", "node": "nat-b", "kind": "adopt", "text": "rtb-1 0.0.0.0/0 of nat-a"}


@pytest.fixture
def chat(tmp_path):
    """Runs the example for a chat that answers with a code; returns (exit code, stderr, what the chat got)."""

    def run(code):
        got = []

        class Chat(BaseHTTPRequestHandler):
            def do_POST(self):
                got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_arguments):
                pass

        with HTTPServer(("127.0.0.1", 0), Chat) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            (tmp_path / "webhook").write_text(f"http://127.0.0.1:{server.server_port}/secret\n", encoding="ascii")
            outcome = start(str(tmp_path / "webhook"))
            server.shutdown()
        return *outcome, got

    return run


def start(address_file):
    done = subprocess.run(
        [sys.executable, str(HOOKS / "chat.py"), address_file],
        input=json.dumps(EVENT),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_the_chat_gets_the_event_in_one_line(chat):
    assert chat(200) == (0, "", [{"text": "prod nat-b: adopt: rtb-1 0.0.0.0/0 of nat-a"}])


@pytest.mark.parametrize(("answer", "code"), [(500, 75), (429, 75), (403, 1)])
def test_a_chat_that_refuses_is_tried_again_if_that_may_help(chat, answer, code):
    found, error, _got = chat(answer)
    assert (found, error) == (code, f"the chat answers {answer}\n")


def test_a_chat_that_does_not_answer_is_tried_again_and_its_address_stays_secret(tmp_path):
    (tmp_path / "webhook").write_text("http://127.0.0.1:1/secret\n", encoding="ascii")
    code, error = start(str(tmp_path / "webhook"))
    assert code == 75
    assert "secret" not in error


def test_the_examples_are_named_on_the_page():
    for path in HOOKS.glob("*.py"):
        compile(path.read_text(encoding="utf-8"), path.name, "exec")
        assert f"hooks/{path.name}" in PAGE


def test_the_page_lists_each_kind_of_event_and_the_usual_ones():
    section = PAGE.partition("\n## Hooks\n")[2]
    table = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in section.splitlines() if row.startswith("| `")]
    assert sorted(kind for row in table for kind in row) == sorted(settings.KINDS)
    [usual] = re.findall(r"A hook without `events` gets ([^.]*)\.", section)
    assert set(re.findall(r"`(\w+)`", usual)) == set(settings.USUAL)
