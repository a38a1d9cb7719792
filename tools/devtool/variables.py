# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/variables.md out of the role's argument specification, so that the page cannot differ from what `ansible-doc` shows."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from devtool import paths

SPECS = paths.ROOT / "roles" / "nat_instance" / "meta" / "argument_specs.yml"
PAGE = paths.ROOT / "docs" / "variables.md"
HEAD = """<!-- Made by ./dev docs from roles/nat_instance/meta/argument_specs.yml; edit that instead. -->
# Variables of the role `nat_instance`

The same on your machine: `ansible-doc -t role aws_ha.egress.nat_instance`. How to choose them: [tuning.md](tuning.md).
"""
TITLES = {"main": "The role itself", "heartbeat_key": "`tasks_from: heartbeat_key`, a step of replacing the key"}

Options = dict[str, dict[str, Any]]


def page(specs: dict[str, Any]) -> str:
    """The whole page. Shape of `specs`: as in meta/argument_specs.yml."""
    parts = [HEAD]
    for entry, spec in specs["argument_specs"].items():
        parts.append(f"## {TITLES.get(entry, f'`tasks_from: {entry}`')}\n\n{prose(spec['description'])}\n")
        for required, title in ((True, "Required"), (False, "Optional")):
            chosen = {n: o for n, o in spec["options"].items() if bool(o.get("required")) == required}
            if chosen:
                parts.append(f"### {title}\n\n{_table(chosen)}")
        parts += [_section(name, option) for name, option in spec["options"].items() if option.get("options")]
    return "\n".join(parts)


def prose(text: str | list[str]) -> str:
    """Ansible's semantic markup as Markdown, in one paragraph."""
    joined = " ".join([text] if isinstance(text, str) else text)
    return re.sub(r"\b[A-Z]\(([^()]*)\)", r"`\1`", joined)


def _section(name: str, option: dict[str, Any]) -> str:
    return f"### Keys of `{name}`\n\n{_table(option['options'])}"


def _table(options: Options) -> str:
    return "\n".join(["| name | type | default | meaning |", "|---|---|---|---|", *_rows(options), ""])


def _rows(options: Options) -> Iterator[str]:
    for name, option in options.items():
        default = f"`{json.dumps(option['default'])}`" if "default" in option else ""
        kind = f"list of {option['elements']}" if option.get("elements") else option["type"]
        choices = f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}." if "choices" in option else ""
        meaning = (prose(option["description"]) + choices).replace("|", "\\|")
        yield f"| `{name}` | {kind} | {default} | {meaning} |"


def render() -> str:
    """The page as it should be now."""
    return page(yaml.safe_load(SPECS.read_text(encoding="utf-8")))


def check() -> int:
    """1, with the remedy, when the page is not as it should be."""
    there = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    if there == render():
        return 0
    print(f"{PAGE.relative_to(paths.ROOT)} is not what {SPECS.relative_to(paths.ROOT)} says; make it anew: ./dev docs")
    return 1


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with --check only compare it."""
    if list(arguments) == ["--check"]:
        return check()
    PAGE.write_text(render(), encoding="utf-8")
    print(PAGE.relative_to(paths.ROOT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
