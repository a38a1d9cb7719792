# SPDX-License-Identifier: GPL-3.0-or-later
"""nat_failover_engine: everything the command needs is installed, once, and what is stale goes away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from .conftest import ROOT

SOURCE = ROOT / "plugins" / "module_utils" / "nat_failover"
LAUNCHER = ROOT / "roles" / "nat_instance" / "files" / "main.py"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lib"


def test_check_mode_predicts(run, folder):
    result = run("nat_failover_engine", check=True, path=str(folder))
    assert result["changed"]
    assert {"cli.py", "policy/__init__.py", "policy/decide.py"} <= set(result["files"])
    assert not folder.exists()


def test_installs_once(run, folder):
    predicted = run("nat_failover_engine", check=True, path=str(folder))
    first = run("nat_failover_engine", path=str(folder))
    assert first["changed"]
    assert first["files"] == predicted["files"]
    assert not run("nat_failover_engine", path=str(folder))["changed"]
    for name in first["files"]:
        installed = folder / "nat_failover" / name
        assert installed.read_bytes() == (SOURCE / name).read_bytes()
        assert installed.stat().st_mode & 0o777 == 0o644


def test_mends_content_mode_and_stale_files(run, folder):
    run("nat_failover_engine", path=str(folder))
    package = folder / "nat_failover"
    (package / "cli.py").write_text("pass\n")
    (package / "policy" / "decide.py").chmod(0o666)
    (package / "of_an_older_version.py").write_text("pass\n")
    (package / "kept.txt").write_text("not ours\n")
    result = run("nat_failover_engine", path=str(folder))
    assert sorted(result["files"]) == ["cli.py", "of_an_older_version.py", "policy/decide.py"]
    assert not (package / "of_an_older_version.py").exists()
    assert (package / "kept.txt").exists()
    assert not run("nat_failover_engine", path=str(folder))["changed"]


def test_what_an_older_version_leaves_behind_goes_away(run, folder):
    """A flat package of 1.0 below the rooms of today, a room that is no more, and their bytecode."""
    package = folder / "nat_failover"
    (package / "__pycache__").mkdir(parents=True)
    (package / "old_room" / "__pycache__").mkdir(parents=True)
    (package / "policy.py").write_text("pass\n")
    (package / "__pycache__" / "policy.cpython-39.pyc").write_text("")
    (package / "old_room" / "part.py").write_text("pass\n")
    (package / "old_room" / "__pycache__" / "part.cpython-39.pyc").write_text("")
    result = run("nat_failover_engine", path=str(folder))
    assert {"policy.py", "old_room/part.py"} <= set(result["files"])
    assert not (package / "policy.py").exists() and not (package / "old_room").exists()
    assert not (package / "__pycache__").exists()
    assert (package / "policy" / "decide.py").exists()
    assert not run("nat_failover_engine", path=str(folder))["changed"]


def test_the_interpreter_finds_bytecode_and_a_removed_file_leaves_none(run, folder):
    package = folder / "nat_failover"
    predicted = run("nat_failover_engine", check=True, path=str(folder), interpreter=sys.executable)
    first = run("nat_failover_engine", path=str(folder), interpreter=sys.executable)
    assert first["files"] == predicted["files"], "bytecode is no file of the package"
    cached = {path.name.split(".")[0] for path in (package / "policy" / "__pycache__").iterdir()}
    assert cached == {path.stem for path in (package / "policy").glob("*.py")}
    assert (package / "policy" / "__pycache__").stat().st_mode & 0o777 == 0o755, "the service reads it, under any umask"
    assert not run("nat_failover_engine", path=str(folder), interpreter=sys.executable)["changed"]
    (package / "policy" / "of_an_older_version.py").write_text("pass\n")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(package)], check=True)
    run("nat_failover_engine", path=str(folder), interpreter=sys.executable)
    assert not list((package / "policy" / "__pycache__").glob("of_an_older_version*"))


def test_bytecode_follows_changed_content(run, folder):
    run("nat_failover_engine", path=str(folder), interpreter=sys.executable)
    errors = folder / "nat_failover" / "errors.py"
    errors.write_text("CHANGED = 1\n")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(errors)], check=True)
    run("nat_failover_engine", path=str(folder), interpreter=sys.executable)
    code = "import nat_failover.errors as e; print(hasattr(e, 'CHANGED'), e.__cached__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    found, cached = done.stdout.split()
    assert found == "False" and Path(cached).is_file()


def test_an_interpreter_that_compiles_nothing_is_a_warning(load):
    told = []
    module = SimpleNamespace(run_command=lambda argv, **_: (1, "", "a\nread-only file system\n"), warn=told.append)
    load("modules.nat_failover_engine").compile_all(module, "/opt/python", "/lib/nat_failover")
    wanted = (
        "/opt/python wrote no bytecode of /lib/nat_failover: read-only file system; the service works, and starts later"
    )
    assert told == [wanted]


def test_an_interpreter_that_is_not_there_costs_the_bytecode_only(run, folder):
    missing = str(folder / "python")
    assert run("nat_failover_engine", path=str(folder), interpreter=missing)["changed"]
    assert not run("nat_failover_engine", path=str(folder), interpreter=missing)["changed"]
    assert (folder / "nat_failover" / "cli.py").exists()


def test_the_completions_of_the_shells_are_files_of_their_own(run, folder, tmp_path):
    paths = {f"completion_{shell}": str(tmp_path / "share" / shell / "nat-failover") for shell in ("bash", "zsh")}
    predicted = run("nat_failover_engine", check=True, path=str(folder), **paths)
    first = run("nat_failover_engine", path=str(folder), **paths)
    assert set(paths.values()) <= set(first["files"]) and first["files"] == predicted["files"]
    bash, zsh = (Path(path).read_text(encoding="utf-8") for path in paths.values())
    assert "complete -F" in bash and zsh.startswith("#compdef nat-failover")
    again = run("nat_failover_engine", path=str(folder), **paths)
    assert not again["changed"] and again["files"] == []


def test_diff_names_versions(run, folder):
    run("nat_failover_engine", path=str(folder))
    (folder / "nat_failover" / "__init__.py").write_text('__version__ = "0.9.0"\n')
    diff = run("nat_failover_engine", check=True, path=str(folder))["diff"]
    assert diff["before"]["version"] == "0.9.0"
    assert diff["after"]["version"] != "0.9.0"


def test_says_why_it_cannot_write(run, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = run("nat_failover_engine", path=str(blocked))
    assert result["failed"]
    assert "cannot be written" in result["msg"]


def test_what_travels_with_the_module_is_enough(collection, tmp_path):
    """Through Ansible itself, since only Ansible decides what it sends along: then the command must start."""
    from ansible import __path__ as found

    assert found
    folder = tmp_path / "lib"
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collection), "ANSIBLE_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [
            os.path.join(os.path.dirname(sys.executable), "ansible"),
            "localhost",
            "--connection=local",
            "--inventory=localhost,",
            f"--extra-vars=ansible_python_interpreter={sys.executable}",
            "--module-name=aws_ha.egress.nat_failover_engine",
            f"--args=path={folder}",
        ],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for command in (["version"], ["--help"], ["check-config", "--config", "/nowhere"]):
        done = subprocess.run(
            [sys.executable, str(LAUNCHER), *command],
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (64 if "/nowhere" in command else 0), done.stderr
        assert "Traceback" not in done.stderr
    imports = (
        "import nat_failover.service.service, nat_failover.service.preflight, nat_failover.cli as c; print(c.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", imports], env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False
    )
    assert str(folder) in done.stdout, done.stderr


def test_the_command_has_a_link_where_sudo_finds_it(run, tmp_path):
    launcher, link = tmp_path / "nat-failover", tmp_path / "usr" / "nat-failover"
    link.parent.mkdir()
    asked = {"path": str(tmp_path / "lib"), "launcher": str(launcher), "launcher_content": "#!/bin/sh\n"}
    asked["launcher_link"] = str(link)
    assert run("nat_failover_engine", check=True, **asked)["changed"] and not link.is_symlink()
    assert run("nat_failover_engine", **asked)["changed"] and link.resolve() == launcher
    assert not run("nat_failover_engine", **asked)["changed"]
    link.unlink()
    link.write_text("somebody else's")
    refused = run("nat_failover_engine", **asked)
    assert refused["failed"] and "is not a link to" in refused["msg"] and link.read_text() == "somebody else's"
