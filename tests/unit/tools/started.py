# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the programs that Python sources start: the first words of argument lists, and the commands of shell texts.

An argument list is a list in a call of a runner, in an assignment to a name such as `argv`, or in what a function `command` returns.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

RUNNERS = {
    *("run", "Popen", "check_output", "check_call", "call", "exec", "popen", "execvp", "which", "runner", "node"),
    *("_call", "start", "run_command", "spawn"),
}
NAMES = {"argv", "command", "commands", "install"}
SHELLS = {"sh", "bash"}
PATH = re.compile(r"/(?:usr/)?s?bin/([\w.+-]+)")  # a list that begins so is an argument list wherever it is
PROGRAM = re.compile(r"[a-z][a-z0-9_.+-]*")
# The first word of a command: at the beginning, after a separator, or in a substitution.
COMMAND = re.compile(r"(?:^|[;&|\n]|\$\()\s*(?:(?:do|then|else|exec)\s+)*([a-z][a-z0-9_-]*)\b(?!=)")
BUILTINS = {
    *("cd", "do", "done", "echo", "exec", "exit", "fi", "for", "if", "kill", "read", "set", "shift", "then", "trap"),
    *("true", "until", "wait", "while", "else", "test", "printf"),
}


def programs(files: Iterable[Path]) -> dict[str, list[str]]:
    """The programs that sources start, each with the places (FILE:LINE) that start it."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for name, line in _started(tree):
            found[name].append(f"{file}:{line}")
    return dict(found)


def _started(tree: ast.Module) -> Iterator[tuple[str, int]]:
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    names = NAMES | {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and _is_argv(node, parents, NAMES)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "which" and node.args and _text(node.args[0]):
            yield _text(node.args[0]), node.lineno
        if isinstance(node, ast.List) and node.elts and (absolute := PATH.fullmatch(_text(node.elts[0]))):
            yield absolute[1], node.lineno
        if isinstance(node, (ast.List, ast.Tuple)) and node.elts and _is_argv(node, parents, names):
            yield from ((name, node.lineno) for name in _words(tree, node.elts) if PROGRAM.fullmatch(name))


def _words(tree: ast.Module, words: list[ast.expr]) -> Iterator[str]:
    """The program of an argument list, and those of the shell text in it."""
    heads = _values(tree, words[0])
    yield from heads
    if heads == ["ip"] and [_text(word) for word in words[1:3]] == ["netns", "exec"] and len(words) > 4:
        yield from _words(tree, words[4:])
    if SHELLS.intersection(heads) and len(words) > 2 and _text(words[1]) == "-c":
        yield from (command for command in COMMAND.findall(_shell(tree, words[2], 3)) if command not in BUILTINS)


def _values(tree: ast.Module, node: ast.AST) -> list[str]:
    """The text, or the texts that are assigned to the name."""
    if isinstance(node, ast.IfExp):
        return [*_values(tree, node.body), *_values(tree, node.orelse)]
    if isinstance(node, ast.Name):
        return [_text(part) for value in _assigned(tree, node.id) for part in (value, *ast.iter_child_nodes(value))]
    return [_text(node)]


def _assigned(tree: ast.Module, name: str) -> list[ast.expr]:
    assignments = (each for each in ast.walk(tree) if isinstance(each, ast.Assign))
    return [each.value for each in assignments if any(getattr(target, "id", "") == name for target in each.targets)]


def _is_argv(node: ast.AST, parents: dict[ast.AST, ast.AST], names: Set[str]) -> bool:
    """Whether a list is an argument list: as a whole, as its beginning (`[...] + more`), or unpacked into it."""
    first = node
    while isinstance(parents[node], (ast.BinOp, ast.IfExp, ast.Starred, ast.List)):
        above = parents[node]
        if isinstance(above, ast.List) and not isinstance(first, ast.List) and not isinstance(node, ast.Starred):
            return False
        node = above
    above = parents[node]
    if isinstance(above, ast.Call):
        return node in above.args and _called(above) in RUNNERS
    if isinstance(above, ast.keyword):
        return above.arg in names
    if isinstance(above, (ast.Assign, ast.AnnAssign)):
        targets = above.targets if isinstance(above, ast.Assign) else [above.target]
        return any(isinstance(target, ast.Name) and target.id in names for target in targets)
    while isinstance(above, ast.Return):
        above = parents[above]
    return isinstance(above, ast.FunctionDef) and above.name in names


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _shell(tree: ast.Module, node: ast.AST, depth: int) -> str:
    """The text of a shell command, with the texts of the names that it is made of."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_shell(tree, part, depth) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _shell(tree, node.value, depth)
    if isinstance(node, ast.BinOp):
        return _shell(tree, node.left, depth) + _shell(tree, node.right, depth)
    if isinstance(node, ast.Name) and depth:
        return "\n".join(_shell(tree, value, depth - 1) for value in _assigned(tree, node.id))
    return _text(node)
