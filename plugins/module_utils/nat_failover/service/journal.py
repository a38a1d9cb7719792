# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging that never delays a heartbeat: lines go into a queue, and a thread writes them.

Events also go into a history file (law L11: every verdict carries its evidence).
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import sys
import typing as t

from .history_file import HistoryFile
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
    lost: t.Callable[[], int]  # lines that the queue, the journal or the history did not take
    unwritten: t.Callable[[], str]  # why the history takes no events, in words. Empty: it does


def start_logging(state_directory: str, fields: t.Mapping[str, str] | None = None) -> Logging:
    """Log to the journal, or to stderr without one, and to the history in ``state_directory``.

    While the directory takes no events, they are missing from the history. ``fields``: those of
    each entry of the journal.
    """
    lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUED)
    stderr = _Stderr(sys.stderr)
    stderr.setFormatter(
        _Journal()
        if "JOURNAL_STREAM" in os.environ
        else logging.Formatter("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S")
    )
    native = _native(stderr, fields or {})
    told = native or stderr
    past = HistoryFile(state_directory)
    past.prepare()
    logger = logging.getLogger("nat-failover")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    queued = _Queue(lines)
    logger.addHandler(queued)
    listener = _Listener(lines, told, past)
    listener.start()

    def stop() -> None:
        logger.removeHandler(queued)
        listener.stop()

    def lost() -> int:
        return queued.lost + stderr.lost + past.lost + (native.lost if native is not None else 0)

    return Logging(stop, lost, lambda: past.unwritten)


def _native(stderr: logging.Handler, fields: t.Mapping[str, str]) -> JournalSocket | None:
    """The journal with fields. None: this process is no unit of systemd, or has no journal."""
    if "JOURNAL_STREAM" not in os.environ:
        return None
    try:
        return JournalSocket(stderr, PRIORITY, fields)
    except OSError:
        return None


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]  # no generic class before Python 3.11
    lost = 0  # lines

    def handleError(self, record: logging.LogRecord) -> None:  # pylint: disable=invalid-name
        self.lost += 1


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


class _Journal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"<{PRIORITY.get(record.levelno, 6)}>{super().format(record)}"
