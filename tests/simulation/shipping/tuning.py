# SPDX-License-Identifier: GPL-3.0-or-later
"""A cheaper process for incidents of the shipping shell. It plays the same."""

from __future__ import annotations

import functools
import gc
import hashlib
import hmac
import platform
import types
import typing as t

from nat_failover.wire import codec, seals

INNER, OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))  # RFC 2104
OBJECTS = 50_000  # more of them since the last collection begin another one: an incident's world is garbage as a whole
KEPT = 512  # packets whose MAC is remembered, from the sender to the receiver


def tune() -> None:
    """For a process of its own: fewer collections of garbage, and MACs without the start of OpenSSL's for each."""
    if platform.python_implementation() == "CPython":
        gc.collect()
        gc.freeze()
        gc.set_threshold(OBJECTS, 20, 100)
    cheaper = types.SimpleNamespace(digest=digest, compare_digest=hmac.compare_digest)
    for module in (codec, seals):
        module.hmac = cheaper  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=KEPT)
def digest(key: bytes, message: bytes, name: str) -> bytes:
    """``hmac.digest``."""
    inner, outer = (pad.copy() for pad in _pads(key, name))
    inner.update(message)
    outer.update(inner.digest())
    return outer.digest()


@functools.lru_cache(maxsize=KEPT)
def _pads(key: bytes, name: str) -> tuple[t.Any, t.Any]:
    """The two hashes of a key, before the message."""
    block = hashlib.new(name).block_size
    whole = (hashlib.new(name, key).digest() if len(key) > block else key).ljust(block, b"\0")
    return hashlib.new(name, whole.translate(INNER)), hashlib.new(name, whole.translate(OUTER))
