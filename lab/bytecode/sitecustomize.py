# SPDX-License-Identifier: GPL-3.0-or-later
"""Python imports this by its name in ansible-playbook and in the modules that it runs here, where PYTHONPATH leads to this folder.

Ansible forks for each task and host, and each child begins anew. Less of its work is done twice here:

* Objects that the garbage collector leaves alone are not copied by the child: a seventh of the CPU time of a run.
* Ansible compiles the Python of collections in each child, without a file of bytecode. It is kept as that of zipped modules is.
* The archive of a module is made anew in each run. ``LAB_ANSIBLE_ARCHIVES`` names a folder that keeps it, for runs of one checkout.
"""

import builtins
import gc
import importlib
import os
import sys

lab_bytecode = importlib.import_module("lab_bytecode")  # zipped modules, as soon as it is imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types


def _compiled(pathname: str, source: bytes) -> "types.CodeType":
    code: "types.CodeType" = builtins.compile(source, pathname, "exec", 0, True)  # noqa: UP037  # no type here when it runs
    return code


_kept = lab_bytecode.keeping(_compiled)


def _compile(*, source: "str | bytes", filename: str, mode: str, flags: int, dont_inherit: bool) -> "types.CodeType":
    """``compile`` in Ansible's loader of collections."""
    text = source.encode() if isinstance(source, str) else source
    found: "types.CodeType" = _kept(filename, text)  # noqa: UP037
    return found


def _share() -> None:
    """Before the first child: what Ansible has imported by now is changed, and where its archives are."""
    finder = sys.modules.get("ansible.utils.collection_loader._collection_finder")
    constants = sys.modules.get("ansible.constants")
    archives = os.environ.get("LAB_ANSIBLE_ARCHIVES")
    if finder is None or constants is None or hasattr(finder, "compile"):
        return
    finder.compile = _compile  # type: ignore[attr-defined]
    if archives:
        place = os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
        if not os.path.lexists(place):
            os.makedirs(archives, exist_ok=True)
            os.symlink(archives, place)


os.register_at_fork(before=gc.freeze)
os.register_at_fork(before=_share)
