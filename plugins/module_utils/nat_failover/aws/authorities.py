# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads the certificates of TLS authorities once for each client, and not for each connection.

All connections of a botocore client share one TLS context, and urllib3 loads the same bundle into
it for each of them. That costs 20 ms of CPU and much memory each time, in the middle of a takeover.
"""

from __future__ import annotations

import os
import threading
import typing as t

Load = t.Callable[..., None]


def load_once(client: t.Any) -> None:
    """Let the connections of a botocore client use the certificates that the first one has loaded.

    A client of another shape (a later version of botocore) is left as it is.
    """
    try:
        # botocore has no public way to a client's TLS context.
        # pylint: disable-next=protected-access
        context = client._endpoint.http_session._manager.connection_pool_kw["ssl_context"]
        context.load_verify_locations = OnceLoader(context.load_verify_locations)
    except (AttributeError, LookupError, TypeError):
        pass


class OnceLoader:
    """In the place of a context's ``load_verify_locations``.

    The files are loaded again when they have changed. Safe to call from several threads.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._loading = threading.Lock()
        self._loaded: set[tuple[t.Any, ...]] = set()

    def __call__(self, cafile: t.Any = None, capath: t.Any = None, cadata: t.Any = None) -> None:
        """Raises what the context's own method raises."""
        what = (cafile, capath, cadata, _version(cafile), _version(capath))
        with self._loading:
            if what not in self._loaded:
                self._load(cafile, capath, cadata)
                self._loaded.add(what)


def _version(path: t.Any) -> tuple[int, int] | None:
    """Another value whenever the file has changed. None without a file."""
    try:
        found = os.stat(path)
    except (OSError, TypeError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size
