# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the bytecode of modules in ZIP files, which Python compiles anew in each process.

Ansible sends each module with its library in a ZIP file, some 200 kB of source. To compile it takes most of the CPU time of a task. The
lab's machines keep the result, and so does this machine for modules that a test runs here. A file is named after the version of Python
and a hash of the source, so an old one is never taken for a new one.
"""

from __future__ import annotations

import _frozen_importlib_external
import _imp
import marshal
import os
import sys
import zipimport

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Callable

# Both are private. Each Python of a machine runs this file, so it imports only modules that Python has loaded already.
MAGIC: int = _frozen_importlib_external._RAW_MAGIC_NUMBER  # type: ignore[attr-defined]
COMPILE = "_compile_source"
FOLDER = os.path.join(sys.pycache_prefix, "zipped") if sys.pycache_prefix else "/var/cache/lab-bytecode"


def keeping(compile_source: Callable[[str, bytes], types.CodeType]) -> Callable[[str, bytes], types.CodeType]:
    """Python's function that compiles the source of a file in an archive, with a memory."""

    def compiled(pathname: str, source: bytes) -> types.CodeType:
        name = _imp.source_hash(MAGIC, source).hex()
        path = os.path.join(FOLDER, name)
        try:
            with open(path, "rb") as kept:
                found: types.CodeType = marshal.load(kept)
                return found
        except (OSError, ValueError, EOFError, TypeError):
            code = compile_source(pathname, source)
        try:
            os.makedirs(FOLDER, exist_ok=True)
            with open(path + "." + str(os.getpid()), "wb") as new:
                marshal.dump(code, new)
            os.replace(new.name, path)
        except OSError:
            pass  # no leave to write: nothing is kept
        return code

    return compiled


setattr(zipimport, COMPILE, keeping(getattr(zipimport, COMPILE)))
