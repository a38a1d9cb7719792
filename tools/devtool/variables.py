# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages out of the roles' argument specifications, so that no page can differ from what `ansible-doc` shows.

These are roles/ROLE/README.md of each role, and docs/variables.md of the role nat_instance.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from devtool import paths

ROLES = paths.ROOT / "roles"
COLLECTION = "aws_ha.egress"
PAGE, PAGE_ROLE = paths.ROOT / "docs" / "variables.md", "nat_instance"
MADE = "<!-- Made by ./dev docs from roles/{role}/meta/argument_specs.yml; edit that instead. -->\n"
PAGE_HEAD = """# Variables of the role `{role}`

On your machine the command `ansible-doc -t role {name}` shows the same.
[tuning.md](tuning.md) helps to choose the values.
"""
INTRO = (
    "{short}. The collection's [README](../../README.md) shows a whole inventory. On your machine the command "
    "`ansible-doc -t role {name}` shows the same as below."
)
README_HEAD = """# Role `{name}`

{intro}

```yaml
- name: Run the role
  hosts: {hosts}
  become: true
  roles:
    - role: {name}
```
"""
TITLES = {"main": "The role itself", "heartbeat_key": "`tasks_from: heartbeat_key`, a step of replacing the key"}

Options = dict[str, dict[str, Any]]


def readme(role: str, specs: dict[str, Any]) -> str:
    """The role's README.md. Shape of `specs`: as in meta/argument_specs.yml."""
    main = specs["argument_specs"]["main"]
    hosts = main["options"].get(f"{role}_group", {}).get("default", "all")
    words = {"role": role, "name": f"{COLLECTION}.{role}", "short": prose(main["short_description"]), "hosts": hosts}
    words["intro"] = filled(INTRO.format(**words))
    return page((MADE + README_HEAD).format(**words), specs)


def page(head: str, specs: dict[str, Any]) -> str:
    """A head and the variables of each entry point. Shape of `specs`: as in meta/argument_specs.yml."""
    parts = [head]
    for entry, spec in specs["argument_specs"].items():
        parts.append(f"## {TITLES.get(entry, f'`tasks_from: {entry}`')}\n\n{filled(prose(spec['description']))}\n")
        for required, title in ((True, "Required"), (False, "Optional")):
            chosen = {n: o for n, o in spec["options"].items() if bool(o.get("required")) == required}
            if chosen:
                parts.append(f"### {title}\n\n{_table(chosen)}")
        parts += [_section(name, option) for name, option in spec["options"].items() if option.get("options")]
    return "\n".join(parts)


def filled(paragraph: str) -> str:
    """A paragraph in lines of at most 100 characters, as the writing rules ask for. A code span stays whole."""
    whole = re.sub(r"`[^`]*`", lambda span: span[0].replace(" ", "\0"), paragraph)
    lines = textwrap.fill(whole, 100, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")


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


def pages() -> dict[Path, str]:
    """Each page that is made, as it should be now."""
    made = {}
    for folder in sorted(path for path in ROLES.iterdir() if path.is_dir()):
        specs = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
        made[folder / "README.md"] = readme(folder.name, specs)
        if folder.name == PAGE_ROLE:
            head = (MADE + PAGE_HEAD).format(role=folder.name, name=f"{COLLECTION}.{folder.name}")
            made[PAGE] = page(head, specs)
    return made


def check() -> int:
    """1, with the remedy, when a page is not as it should be."""
    made = pages()
    old = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in old:
        print(
            f"{path.relative_to(paths.ROOT)} is not what the role's argument_specs.yml says; make it anew: ./dev docs"
        )
    return 1 if old or not made else 0


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with --check only compare them."""
    if list(arguments) == ["--check"]:
        return check()
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(paths.ROOT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
