# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging that never delays a heartbeat: lines go into a queue, and a thread writes them.

Events also go into a history file (law L11: every verdict carries its evidence).
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import queue
import sys
import typing as t

from . import history
from .journal_socket import JournalSocket

QUEUED = 2000  # Lines. Further ones are dropped
# The prefixes of sd-daemon(3)
PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class Logging(t.NamedTuple):
    """The logging of this process."""

    stop: t.Callable[[], None]  # write what is queued, then end
    lost: t.Callable[[], int]  # lines that there was no room for


def start_logging(state_directory: str, fields: t.Mapping[str, str] | None = None) -> Logging:
    """Log to the journal, or to stderr without one, and to the history in ``state_directory``.

    Without a writable directory there is no history. ``fields``: those of each entry of the
    journal.
    """
    lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUED)
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(
        _Journal()
        if "JOURNAL_STREAM" in os.environ
        else logging.Formatter("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S")
    )
    handlers: list[logging.Handler] = [_journal(stderr, fields or {})]
    try:
        os.makedirs(state_directory, exist_ok=True)
        history.mend_end(state_directory)
        handlers.append(_HistoryFile(state_directory))
    except OSError as error:
        sys.stderr.write(f"no history is kept: {error}; make {state_directory} writable for the service\n")
    logging.raiseExceptions = False  # a full disk ends the history and not the service
    logger = logging.getLogger("nat-failover")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    queued = _Queue(lines)
    logger.addHandler(queued)
    listener = _Listener(lines, *handlers)
    listener.start()

    def stop() -> None:
        logger.removeHandler(queued)
        listener.stop()

    return Logging(stop, lambda: queued.lost)


def _journal(stderr: logging.Handler, fields: t.Mapping[str, str]) -> logging.Handler:
    """The journal with fields in a unit of systemd, else ``stderr``."""
    if "JOURNAL_STREAM" not in os.environ:
        return stderr
    try:
        return JournalSocket(stderr, PRIORITY, fields)
    except OSError:
        return stderr


class _Listener(logging.handlers.QueueListener):
    def enqueue_sentinel(self) -> None:
        # put() waits for room, so a slow disk does not break the end of the logging.
        self.queue.put(self._sentinel)  # type: ignore[attr-defined]


class _Queue(logging.handlers.QueueHandler):
    lost = 0  # lines

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # Formatted now, since the arguments may change before the thread writes the line.
        record.msg, record.args = record.getMessage(), None
        record.message = record.msg
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.lost += 1


class _HistoryFile(logging.handlers.RotatingFileHandler):
    """Writes events only. It works in the thread of the writer, so a slow disk delays no heartbeat."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            history.path(directory),
            maxBytes=history.FILE_BYTES,
            backupCount=history.OLDER_FILES,
            encoding="utf-8",
        )
        self.setFormatter(_History())
        self.addFilter(lambda record: hasattr(record, "event"))

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if record.__dict__["event"].get("kind") in history.DURABLE:
            try:
                if self.stream is not None:
                    os.fsync(self.stream.fileno())
            except (OSError, ValueError):
                self.handleError(record)


class _Journal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"<{PRIORITY.get(record.levelno, 6)}>{super().format(record)}"


class _History(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(record.__dict__["event"])
