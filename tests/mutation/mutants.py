# SPDX-License-Identifier: GPL-3.0-or-later
"""All mutants of one file, as Cosmic Ray's operators make them."""

from __future__ import annotations

import ast
import hashlib
import json
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

# The library has 132 replacements of one binary operator by another, and 56 of comparisons. Most of them
# raise a TypeError at once, so that they would flatter the score. These are left: the neighbour and the opposite.
BINARY = {
    "Add": ("Sub",),
    "Sub": ("Add", "BitOr"),  # numbers, and sets
    "Mul": ("Div",),
    "Div": ("Mul",),
    "FloorDiv": ("Mul", "Div"),
    "Mod": ("Mul",),
    "Pow": ("Mul",),
    "RShift": ("LShift",),
    "LShift": ("RShift",),
    "BitOr": ("BitAnd",),
    "BitAnd": ("BitOr",),
    "BitXor": ("BitAnd", "BitOr"),
}
COMPARISONS = {
    "Eq": ("NotEq",),
    "NotEq": ("Eq",),
    "Lt": ("LtE", "GtE"),
    "LtE": ("Lt", "Gt"),
    "Gt": ("GtE", "LtE"),
    "GtE": ("Gt", "Lt"),
    "Is": ("IsNot",),
    "IsNot": ("Is",),
}
PAIRS = {"ReplaceBinaryOperator": BINARY, "ReplaceComparisonOperator": COMPARISONS}


@dataclass(frozen=True)
class Span:
    """A function of a module, or a method of a class: its name, its first line (of the decorators) and its last one."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Mutant:
    """``old`` and ``new``: the changed line without its indentation. ``key``: the same for the same mutant of the same function."""

    file: str
    function: str
    row: int
    operator: str
    occurrence: int
    old: str
    new: str
    key: str

    def code(self, source: str) -> str:
        """The source of the file with this mutant in it."""
        return str(mutate_code(source, get_operator(self.operator)(), self.occurrence))


def spans(source: str) -> list[Span]:
    """The functions of a module and the methods of its classes. A function inside of another belongs to that one."""
    found: list[Span] = []

    def visit(body: t.Sequence[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                found.append(Span(prefix + node.name, first, node.end_lineno or node.lineno))
            elif isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(source).body, "")
    return found


def span_at(found: t.Iterable[Span], row: int) -> Span | None:
    """The function that holds a line; None for a line of the module or of a class."""
    return next((span for span in found if span.first <= row <= span.last), None)


def mutants(path: Path, name: str, cache: Path) -> list[Mutant]:
    """The mutants of a file, made once for each version of it: parsing takes half a minute of CPU for a room.

    ``name``: the file in reports and in the list of equivalent mutants, as policy/verdict.py.
    """
    source = path.read_text(encoding="utf-8")
    made = Path(__file__).read_text(encoding="utf-8")
    kept = cache / f"{hashlib.sha256(f'{name} {made} {source}'.encode()).hexdigest()[:16]}.json"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(".new")
        draft.write_text(json.dumps([vars(mutant) for mutant in _mutants(name, source)]), encoding="utf-8")
        draft.replace(kept)
    return [Mutant(**each) for each in json.loads(kept.read_text(encoding="utf-8"))]


def _mutants(name: str, source: str) -> Iterator[Mutant]:
    functions, unread = spans(source), _annotations(source)
    nodes = list(ast_nodes(get_ast(source)))
    for operator_name in sorted(operator_names()):
        make = get_operator(operator_name)
        if make.arguments() or not _wanted(operator_name):
            continue
        operator = make()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (start, _end) in enumerate(places):
            if any(first <= start < last for first, last in unread):
                continue
            code = mutate_code(source, operator, occurrence)
            if code is not None and code != source:
                yield _mutant(name, operator_name, occurrence, start[0], functions, source, code)


def _wanted(operator_name: str) -> bool:
    kind, _underscore, pair = operator_name.partition("/")[2].partition("_")
    before, _underscore, after = pair.partition("_")
    return kind not in PAIRS or after in PAIRS[kind].get(before, ())


def _mutant(
    name: str, operator: str, occurrence: int, row: int, functions: list[Span], source: str, code: str
) -> Mutant:
    span = span_at(functions, row)
    before, after = source.splitlines(), code.splitlines()
    body = after[span.first - 1 : span.last + len(after) - len(before)] if span else after
    first = next(at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other)
    most = min(len(before), len(after)) - first
    same = next((at for at in range(most) if before[-1 - at] != after[-1 - at]), most)
    old, new = (" ".join(line.strip() for line in lines[first : len(lines) - same]) for lines in (before, after))
    function = span.name if span else ""
    key = hashlib.sha256("\n".join([name, function, *body]).encode()).hexdigest()[:16]
    return Mutant(name, function, row, operator, occurrence, old, new, key)


def _annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where the types stand, which no program reads: ``from __future__ import annotations`` leaves them as text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        given = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for each in given:
            if isinstance(each, ast.expr):
                end = (each.end_lineno or each.lineno, each.end_col_offset or each.col_offset)
                found.append(((each.lineno, each.col_offset), end))
    return found if "from __future__ import annotations" in source else []
