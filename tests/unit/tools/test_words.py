# SPDX-License-Identifier: GPL-3.0-or-later
"""Prose obeys those writing rules of CONTRIBUTING.md that a program can check: openers, first person, width."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
WIDTH = 100
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "molecule/containers/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "roles").glob("*/README.md")),
]
ENGINE = "plugins/module_utils/nat_failover"
CHECKED = (
    *(
        f"{ENGINE}/{room}"
        for room in (
            "act",
            "aws",
            "config",
            "console",
            "hooks",
            "host",
            "model",
            "observe",
            "policy",
            "runtime",
            "service",
            "web",
            "wire",
        )
    ),
    *(f"{ENGINE}/{file}.py" for file in ("__init__", "cli", "errors", "readers", "timing")),
    *(f"plugins/{folder}" for folder in ("doc_fragments", "filter", "modules", "plugin_utils")),
    *(
        f"plugins/module_utils/{file}.py"
        for file in ("_addresses", "_as_service", "_client", "_credentials", "_files", "_module")
    ),
    *("roles/nat_instance/files", "roles/proxy/files"),
)
WORKSHOP = ("benchmarks", "lab", "tests", "tools")
DOCUMENTS = [
    *sorted((ROOT / "plugins" / "filter").glob("*.yml")),
    *sorted((ROOT / "roles").glob("*/meta/*.yml")),
    *sorted((ROOT / "changelogs" / "fragments").glob("*.yml")),
]
COMMENTED = [
    path
    for folder in ("roles", "playbooks", "inventories")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".yml", ".j2")
]

OPENER = re.compile(r"(Who|What|Whoever|Whatever|Whom|Whose)\b")
# I/O, the option -I and the region us-east-1 are no persons.
FIRST_PERSON = re.compile(r"\b((?<!-)I(?!/)|[Mm]y|[Mm]e|[Mm]ine|[Mm]yself|[Ww]e|us(?!-)|[Oo]urs?)\b")
QUOTED = (
    re.compile(r"``.*?``|`[^`]*`", re.S),  # code
    re.compile(r'"[^"\n]*"'),
    re.compile(r"\b[A-Z]\([^()]*\)"),  # Ansible's markup of code and names
    re.compile(r"(?<![*\w])\*[A-Za-z]+\*(?![*\w])"),  # a word that the text is about
    re.compile(r"\]\([^)]*\)|<?https?://\S+"),  # targets of links
)
MARKS = re.compile(r"^([-#*(]* |[#*(]+)+")  # of a heading, a list item, emphasis
SENTENCE_END = re.compile(r"(?<=[.!?:])[)*\"']*\s+")


def faults(text: str) -> list[str]:
    """The sentences of ``text`` that open with a pronoun and are no question, and those in the first person."""
    for pattern in QUOTED:
        text = pattern.sub(" x ", text)
    found = []
    for raw in SENTENCE_END.split(text):
        sentence = MARKS.sub("", " ".join(raw.split()))
        if (OPENER.match(sentence) and not sentence.endswith("?")) or FIRST_PERSON.search(sentence):
            found.append(sentence)
    return found


# --- Markdown ------------------------------------------------------------------------------------


def prose_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of a page, without code blocks and comments."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith(("    ", "<!--")):
            yield number, line


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs, list items, headings and table cells, each by itself."""
    lines: list[str] = []
    for _number, line in prose_lines(text):
        item = re.match(r" *([-*]|\d+\.) +", line)
        if item or not line.strip() or line.startswith(("#", "|")):
            yield "\n".join(lines)
            lines = []
        if line.startswith("|"):
            yield from re.split(r"(?<!\\)\|", line)
        else:
            lines.append(line[item.end() :] if item else line)
    yield "\n".join(lines)


def too_wide(text: str) -> list[str]:
    """Prose lines over the width that could be broken: tables, pictures and lines without a space cannot."""
    found = []
    for number, line in prose_lines(text):
        unbroken = re.sub(r"`[^`]*`", lambda span: "x" * len(span[0]), line)
        if len(line) > WIDTH and not line.startswith(("|", "![")) and " " in unbroken.strip().lstrip("-*0123456789. "):
            found.append(f"{number}: {line}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_obeys(page):
    text = page.read_text(encoding="utf-8")
    assert [*(fault for each in paragraphs(text) for fault in faults(each)), *too_wide(text)] == []


# --- Python --------------------------------------------------------------------------------------


def texts_of_yaml(node: object) -> Iterator[str]:
    """All text of a YAML document but samples, defaults and names."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key not in ("sample", "default", "choices", "name", "plugin_routing"):
                yield from texts_of_yaml(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts_of_yaml(value)
    elif isinstance(node, str):
        yield node


def texts_of_python(source: str) -> Iterator[str]:
    """Docstrings, blocks of comments, and the descriptions of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from re.split(r"\n\s*\n|\n(?=[-*] )", ast.get_docstring(node) or "")
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            if getattr(node.targets[0], "id", "") in ("DOCUMENTATION", "RETURN"):
                yield from texts_of_yaml(yaml.safe_load(node.value.value))
    block, last = "", -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            whole_line = not token.line[: token.start[1]].strip()
            if not (whole_line and token.start[0] == last + 1):
                yield block
                block = ""
            block += token.string.lstrip("#") + "\n"
            last = token.start[0] if whole_line else -1
    yield block


def wide_prose(source: str) -> list[str]:
    """Lines of docstrings and comments over the width, without quotation marks. Code has a width of its own."""
    lines = source.splitlines()
    prose = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            prose |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    prose |= {number for number, line in enumerate(lines, 1) if line.lstrip().startswith("# ")}
    return [f"{n}: {lines[n - 1]}" for n in sorted(prose) if len(lines[n - 1].replace('"""', "")) > WIDTH]


def sources(names: tuple[str, ...]) -> list[Path]:
    """The Python files of folders and files."""
    paths = [ROOT / name for name in names]
    return [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]


def wrong_in_python(source: str) -> list[str]:
    """All faults of a file."""
    return [*(fault for text in texts_of_python(source) for fault in faults(text)), *wide_prose(source)]


@pytest.mark.parametrize("name", CHECKED)
def test_python_obeys(name):
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in sources((name,))
        if (wrong := wrong_in_python(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize("name", WORKSHOP)
def test_the_workshop_speaks_alike(name):
    """Openers and the first person. The width of its prose is that of code."""
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in sources((name,))
        if (wrong := [fault for text in texts_of_python(path.read_text(encoding="utf-8")) for fault in faults(text)])
    }
    assert found == {}


def test_each_python_file_that_ships_is_checked():
    shipped = sources(("plugins", "roles"))
    assert set(shipped) - set(sources(CHECKED)) == set()


# --- YAML and templates --------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_description_obeys(path):
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [fault for text in texts_of_yaml(document) for fault in faults(text)] == []


def test_comments_of_roles_and_playbooks_obey():
    found = []
    for path in COMMENTED:
        block = ""
        for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
            comment = re.match(r"\s*#+(?!!) ?(.*)", line)
            # An indented line of a comment is a command or a row of a list. The licence ends no sentence, so it would
            # hide the opener of the next one.
            if comment and comment[1].strip() and not comment[1].startswith(("  ", "SPDX-")):
                block += comment[1] + "\n"
            else:
                found += [f"{path.relative_to(ROOT)}: {fault}" for fault in faults(block)]
                block = ""
    assert found == []


# --- the check itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "What a node needs.",
        "It works. Who drains is spared.",
        "Whoever\nlooks sees it.",
        "**What it is.** A node.",
        "- What it is.",
        "A node that I fence.",
        "Our node.",
        "It hands over: Whose route it is.",
        "One of ours.",
    ],
)
def test_a_wrong_sentence_is_found(text):
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "What is a node? It forwards.",
        "No clock, no I/O.",
        'The node reports "I am alive".',
        "The members of the cluster of `me`.",
        "*Who* and *What* do not open a sentence.",
        "A node in us-east-1, run with -I.",
        "It names what is wrong.",
    ],
)
def test_a_right_sentence_passes(text):
    assert faults(text) == []


def test_a_wide_line_is_found_and_a_wide_table_is_not():
    wide = "word " * 30
    assert too_wide(wide) and too_wide("- " + wide)
    assert too_wide(f"| {wide} |\n```\n{wide}\n```\n![{wide}](x.svg)\n`{wide}`") == []


def test_a_comment_over_several_lines_is_one_text():
    [text] = [each for each in texts_of_python("# The node\n# that I fence.\nx = 1\n") if each]
    assert faults(text) == ["The node that I fence."]


def test_a_wide_docstring_is_found_and_a_wide_statement_is_not():
    assert wide_prose(f'"""{"word " * 30}"""') and wide_prose(f"# {'word ' * 30}")
    assert wide_prose(f'x = "{"word " * 30}"') == []
    assert wide_prose('"""' + "w" * WIDTH + '"""') == []
