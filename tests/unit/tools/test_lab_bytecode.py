# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytecode of modules in ZIP files, as the lab's machines keep it: it is never another module's, and a loss of it costs time only."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lab import image


def said(folder: Path, word: str, cache: Path) -> str:
    """The output of a module in a ZIP file that says a word, run by a Python of its own."""
    archive = folder / "modules.zip"
    with zipfile.ZipFile(archive, "w") as sink:
        sink.writestr("speaker.py", f"print({word!r})\n")
    places = os.pathsep.join([str(image.BYTECODE.parent), str(archive)])
    env = {**os.environ, "PYTHONPATH": places, "PYTHONPYCACHEPREFIX": str(cache)}
    argv = [sys.executable, "-c", "import speaker"]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.strip()


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "zipped").iterdir())


def test_a_module_is_compiled_once(tmp_path):
    assert [said(tmp_path, "yes", tmp_path / "cache") for _run in range(2)] == ["yes", "yes"]
    [file] = kept(tmp_path / "cache")
    before = file.stat().st_mtime_ns
    assert said(tmp_path, "yes", tmp_path / "cache") == "yes" and file.stat().st_mtime_ns == before


def test_another_source_of_the_same_name_is_another_module(tmp_path):
    assert [said(tmp_path, word, tmp_path / "cache") for word in ("yes", "no", "yes")] == ["yes", "no", "yes"]
    assert len(kept(tmp_path / "cache")) == 2


@pytest.mark.parametrize("content", [b"", b"\0", b"half of it"])
def test_a_damaged_file_is_written_anew(tmp_path, content):
    said(tmp_path, "yes", tmp_path / "cache")
    [file] = kept(tmp_path / "cache")
    file.write_bytes(content)
    assert said(tmp_path, "yes", tmp_path / "cache") == "yes"
    assert kept(tmp_path / "cache") == [file] and file.read_bytes() != content


def test_without_a_folder_nothing_is_kept(tmp_path):
    (tmp_path / "cache").write_bytes(b"a file in the place of the folder")
    assert said(tmp_path, "yes", tmp_path / "cache") == "yes"


# --- Ansible's own processes --------------------------------------------------------------------------

FORK = """
import os, sys, types

finder = types.ModuleType("ansible.utils.collection_loader._collection_finder")
constants = types.ModuleType("ansible.constants")
constants.DEFAULT_LOCAL_TMP = sys.argv[1]
sys.modules.update({each.__name__: each for each in (finder, constants)})
for _task in range(2):
    child = os.fork()
    if not child:
        code = finder.compile(source=sys.argv[2], filename="x.py", mode="exec", flags=0, dont_inherit=True)
        exec(code, {})
        os._exit(0)
    os.waitpid(child, 0)
"""


def forked(folder: Path, source: str, archives: Path | None) -> tuple[str, Path]:
    """The output of two children that compile a collection, and the folder in which Ansible keeps archives."""
    local = folder / f"local-{len(list(folder.iterdir()))}"
    local.mkdir()
    env = {**os.environ, "PYTHONPATH": str(image.BYTECODE.parent), "PYTHONPYCACHEPREFIX": str(folder / "cache")}
    env.update({"LAB_ANSIBLE_ARCHIVES": str(archives)} if archives else {})
    argv = [sys.executable, "-u", "-c", FORK, str(local), source]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    return done.stdout, local / "ansiballz_cache"


def test_the_children_of_ansible_compile_a_collection_once(tmp_path):
    assert forked(tmp_path, "print('yes')", None)[0] == "yes\nyes\n"
    [file] = kept(tmp_path / "cache")
    before = file.stat().st_mtime_ns
    assert forked(tmp_path, "print('yes')", None)[0] == "yes\nyes\n" and file.stat().st_mtime_ns == before
    assert forked(tmp_path, "print('no')", None)[0] == "no\nno\n"


def test_archives_of_modules_outlive_a_run_of_a_playbook(tmp_path):
    places = [forked(tmp_path, "", tmp_path / "archives")[1] for _run in range(2)]
    places[0].joinpath("ping").write_text("the archive", encoding="ascii")
    assert places[1].joinpath("ping").read_text(encoding="ascii") == "the archive"
    assert not forked(tmp_path, "", None)[1].exists(), "without the variable each run makes its own"
