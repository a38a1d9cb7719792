# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer of the history: events as lines on a disk that may be full, slow or read-only."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
import typing as t

from . import history


class HistoryFile(logging.handlers.RotatingFileHandler):
    """Writes events only. It works in the thread of the writer, so a slow disk delays no heartbeat.

    A disk that takes nothing costs the events of that time, which the journal has. Each event tries
    the disk again.
    """

    def __init__(self, directory: str) -> None:
        super().__init__(
            history.path(directory),
            maxBytes=history.FILE_BYTES,
            backupCount=history.OLDER_FILES,
            encoding="utf-8",
            delay=True,
        )
        self.setFormatter(_Event())
        self.addFilter(lambda record: hasattr(record, "event"))
        self.problem = ""  # why events are missing now. Empty: each one is written
        self.lost = 0  # events in all
        self._lost_before = 0  # and those of other problems than this one
        self._directory = directory

    @property
    def unwritten(self) -> str:
        """The events that are missing, and why, in words. Empty: the disk takes them."""
        missing = self.lost - self._lost_before
        events = "1 event is" if missing == 1 else f"{missing} events are"
        return f"{self.problem}; {events} missing from it" if self.problem and missing else self.problem

    def prepare(self) -> None:
        """Find out before the first event whether the disk takes one."""
        try:
            self._open_again()
        except OSError as error:
            self.problem = str(error)

    def emit(self, record: logging.LogRecord) -> None:
        before = self.lost
        try:
            if self.stream is None:
                self._open_again()
        except OSError:
            self.handleError(record)
            return
        super().emit(record)
        if self.lost == before and record.__dict__["event"].get("kind") in history.DURABLE:
            self._sync(record)
        if self.lost == before:
            self.problem, self._lost_before = "", before

    def handleError(self, record: logging.LogRecord) -> None:  # pylint: disable=invalid-name
        """Called where an exception was caught."""
        stream, self.stream = self.stream, t.cast(t.Any, None)
        try:
            if stream is not None:
                stream.close()  # with what a full disk left in its buffer
        except (OSError, ValueError):
            pass
        self.lost += 1
        self.problem = str(sys.exc_info()[1])

    def _open_again(self) -> None:
        """Raises ``OSError``."""
        os.makedirs(self._directory, exist_ok=True)
        history.mend_end(self._directory)
        self.stream = self._open()

    def _sync(self, record: logging.LogRecord) -> None:
        try:
            if self.stream is not None:
                os.fsync(self.stream.fileno())
        except (OSError, ValueError):
            self.handleError(record)


class _Event(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(record.__dict__["event"])
