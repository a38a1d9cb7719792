# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging that can never hold up a heartbeat: a queue in between, a thread writes. Events also go to a history file (law L11)."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import queue
import sys
import typing as t

QUEUED = 2000  # lines; more than that are dropped rather than waited for
HISTORY_BYTES = 1 << 20  # then history.jsonl becomes history.jsonl.1
PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}  # sd-daemon(3)


def start_logging(state_directory: str) -> t.Callable[[], None]:
    """Log to stderr (the journal) and to ``<state_directory>/history.jsonl``; returns the function that ends it."""
    lines: "queue.Queue[logging.LogRecord]" = queue.Queue(QUEUED)
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(
        _Journal()
        if "JOURNAL_STREAM" in os.environ
        else logging.Formatter("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S")
    )
    handlers: t.List[logging.Handler] = [stderr]
    try:
        os.makedirs(state_directory, exist_ok=True)
        history = logging.handlers.RotatingFileHandler(
            os.path.join(state_directory, "history.jsonl"), maxBytes=HISTORY_BYTES, backupCount=1, encoding="utf-8"
        )
        history.setFormatter(_History())
        history.addFilter(lambda record: hasattr(record, "event"))
        handlers.append(history)
    except OSError as error:
        sys.stderr.write("no history is kept: %s\n" % error)
    logging.raiseExceptions = False  # a full disk costs the history, not the service
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

    return stop


class _Listener(logging.handlers.QueueListener):
    def enqueue_sentinel(self) -> None:
        self.queue.put(self._sentinel)  # type: ignore[attr-defined]  # waits for room: the end must not fail because the disk is slow


class _Queue(logging.handlers.QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record.msg, record.args = (
            record.getMessage(),
            None,
        )  # now: the writer must not see what becomes of the arguments
        record.message = record.msg
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            pass


class _Journal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "<%d>%s" % (PRIORITY.get(record.levelno, 6), super().format(record))


class _History(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(record.__dict__["event"])
