# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's modules and packages import each other in one direction."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

LAB = Path(__file__).parents[2] / "lab"


def imports(root: Path) -> dict[str, set[str]]:
    """The modules of a package that each of its modules imports, also those that only type checkers see."""
    modules = {name_of(root, file): file for file in root.rglob("*.py")}
    return {name: {*imported(name, file, modules)} - {name} for name, file in modules.items()}


def name_of(root: Path, file: Path) -> str:
    return ".".join(file.relative_to(root.parent).with_suffix("").parts).replace(".__init__", "")


def imported(name: str, file: Path, modules: dict[str, Path]) -> list[str]:
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base + "." + alias.name for alias in node.names]
            found += [each if each in modules else base for each in names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [each for each in found if each in modules]


def rooms(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same between packages: a module of a package below the top counts as that package."""

    def room(name: str) -> str:
        return ".".join(name.split(".")[:2])

    between: dict[str, set[str]] = {}
    for name, targets in graph.items():
        between.setdefault(room(name), set()).update(room(each) for each in targets if room(each) != room(name))
    return between


def circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_the_labs_modules_import_each_other_in_one_direction() -> None:
    assert circle(imports(LAB)) == []


def test_the_labs_packages_import_each_other_in_one_direction() -> None:
    assert circle(rooms(imports(LAB))) == []


@pytest.mark.parametrize("line", ["from .b import x", "from . import b", "import p.b", "from p import b"])
def test_a_circle_is_found(tmp_path: Path, line: str) -> None:
    root = tmp_path / "p"
    root.mkdir()
    for name, text in {"__init__": "", "a": line, "b": "from .a import y"}.items():
        (root / f"{name}.py").write_text(text + "\n", encoding="ascii")
    assert circle(imports(root))
