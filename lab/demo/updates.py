# SPDX-License-Identifier: GPL-3.0-or-later
"""``apt-get update`` of a client, over and over, through a proxy and by nothing else."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..archive import mirror
from ..fabric.packages import MAIN
from ..image import SUITE

# Read before the files of this machine, which it leaves out: a client's own settings, lists and cache.
CONFIG = """
Dir::Etc::main "-";
Dir::Etc::parts "{folder}/none";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/none";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
Acquire::Languages "none";
Acquire::http::Proxy "http://{proxy}:3128";
Acquire::http::Timeout "{silence_s}";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
"""
SILENCE_S = 5  # apt waits 30 s for a server that has fallen silent, unless it is told otherwise
LIMIT_S = 90


@dataclass(frozen=True)
class Update:
    """One run. Times are monotonic; ``said`` is the end of its output."""

    begun: float
    ended: float
    code: int
    said: str

    def __str__(self) -> str:
        how = "ended well" if self.code == 0 else f"failed: {self.said}"
        return f"apt-get update {how}, after {self.ended - self.begun:.1f} s"


class Updates:
    """Runs, one after the other, each with empty lists, until ``end``."""

    def __init__(self, command: Callable[..., list[str]], folder: Path, proxy: str) -> None:
        self._command, self._folder = command, folder / "apt"
        self._ended = threading.Event()
        self.done: list[Update] = []
        for name in ("none", "lists/partial", "cache/archives/partial"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._write("sources.list", MAIN.format(keyring=mirror().keyring, suite=SUITE))
        self._write("apt.conf", CONFIG.format(folder=self._folder, proxy=proxy, silence_s=SILENCE_S))
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> Updates:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ended.set()
        self._thread.join(LIMIT_S)

    def across(self, moment: float) -> Update | None:
        """The run that was on its way at a moment, or began first after it; None as long as it goes on."""
        return next((each for each in self.done if each.ended > moment), None)

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")

    def _go_on(self) -> None:
        while not self._ended.is_set():
            for file in (self._folder / "lists").glob("*_*"):
                file.unlink()
            begun = time.monotonic()
            code, said = self._run()
            self.done.append(Update(begun, time.monotonic(), code, said))

    def _run(self) -> tuple[int, str]:
        argv = self._command("env", f"APT_CONFIG={self._folder}/apt.conf", "apt-get", "update")
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": LIMIT_S}
        try:
            done = subprocess.run(argv, check=False, **options)
        except subprocess.TimeoutExpired:
            return 1, f"no end within {LIMIT_S} s"
        return done.returncode, " ".join(done.stderr.split())[-200:]
