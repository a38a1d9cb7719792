# SPDX-License-Identifier: GPL-3.0-or-later
"""nftables in a namespace, by libnftables: the library of nft(8), in this process.

The kernel waits for 10 to 15 ms when a netlink socket of nftables is closed, so each call of nft(8) takes that long. A kept
socket is never waited for: a transaction takes half a millisecond.
"""

from __future__ import annotations

import ctypes
import functools

from ..errors import LabError
from . import netns

LIBRARY = "libnftables.so.1"


class Nft:
    """Transactions in one namespace. The namespace lives on until ``close``, since a socket is in it. Not for several threads at once."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._context: int | None = None

    def load(self, text: str) -> None:
        """Input of nft(8), one transaction. Raises ``LabError`` if the kernel or the grammar refuses it: then nothing has changed."""
        library = _library()
        if self._context is None:
            self._context = netns.inside(self._namespace, lambda: int(library.nft_ctx_new(0)))
            library.nft_ctx_buffer_error(self._context)
            library.nft_ctx_buffer_output(self._context)
        if library.nft_run_cmd_from_buffer(self._context, text.encode("ascii")) != 0:
            reason = library.nft_ctx_get_error_buffer(self._context).decode(errors="replace").strip()
            raise LabError(f"nftables in {self._namespace}: {reason}")

    def close(self) -> None:
        """Let go of the namespace."""
        if self._context is not None:
            _library().nft_ctx_free(self._context)
            self._context = None


@functools.cache
def _library() -> ctypes.CDLL:
    """libnftables(3). The package nftables brings it along."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise LabError(f"{LIBRARY}: {error}; install the package nftables") from error
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = [ctypes.c_uint32], ctypes.c_void_p
    for name in ("nft_ctx_free", "nft_ctx_buffer_error", "nft_ctx_buffer_output"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.nft_ctx_free.restype = None
    library.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library
