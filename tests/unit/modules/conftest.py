# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules are run in this process: arguments in, the JSON that Ansible would get out.

They need ansible-core, which only the main environment has; under the other Pythons, where the engine is tested, they are not collected.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = "ansible_collections.aws_ha.egress"
HAS_ANSIBLE = importlib.util.find_spec("ansible") is not None
collect_ignore_glob = [] if HAS_ANSIBLE else ["*"]  # folders, too


@pytest.fixture(scope="session", autouse=True)
def collection(tmp_path_factory):
    """Let Python find this checkout as the collection, wherever it is; returns the folder to name in ANSIBLE_COLLECTIONS_PATH."""
    folder = tmp_path_factory.mktemp("collections")
    link = folder / "ansible_collections" / "aws_ha" / "egress"
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT, target_is_directory=True)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def load(collection):
    """Import a part of the collection by its path below plugins/."""
    return lambda name: importlib.import_module(f"{COLLECTION}.plugins.{name}")


@pytest.fixture
def run(load, capsys):
    """Run a module: ``run("nat_failover", state="drained")`` returns what it answers."""
    from ansible.module_utils.testing import patch_module_args

    def call(name, check=False, **arguments):
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            load("modules." + name).main()
        return json.loads(capsys.readouterr().out)

    return call
