# SPDX-License-Identifier: GPL-3.0-or-later
"""The build stage: what a user installs from Galaxy, seen from an empty folder."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devtool import environment, galaxy, paths, process, tree
from devtool.count import Count

# Kind, as ansible-doc and the site name it, and where in the collection each one of that kind is.
DOCUMENTED = (("module", "plugins/modules/*.py"), ("filter", "plugins/filter/*.yml"), ("role", "roles/*"))
# Its references to Ansible's own documentation are not here.
SPHINX = """project = "aws_ha.egress"
extensions = ["sphinx_antsibull_ext"]
html_theme = "alabaster"
suppress_warnings = ["ref.ref"]
"""
MADE_BY_GALAXY = {"MANIFEST.json", "FILES.json"}
# The needs of a user of the collection: a folder, with all that is in it, or a file.
SHIPPED = (
    *("LICENSE", "README.md", "SECURITY.md", "changelogs/changelog.yaml"),
    *("docs/", "inventories/", "meta/", "playbooks/", "plugins/", "roles/"),
)


def run(log: Path, limit: float) -> Count:
    """Build, install and document the collection; each step that holds counts as one."""
    log.unlink(missing_ok=True)
    total = Count()
    with _scratch() as folder:
        for name, step in STEPS:
            problem = step(folder, log, limit)
            if problem:
                with log.open("a", encoding="utf-8") as sink:
                    sink.write(f"{name}: {problem}\n")
                return total + Count(failed=1, names=(f"build::{name}: {problem}",))
            total += Count(passed=1)
    return total


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder outside of the checkout, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="aws-ha-egress-build-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _call(argv: list[str], folder: Path, log: Path, limit: float) -> process.Outcome:
    """Run a command that sees no collection but the one under test."""
    env = environment.with_home("build")
    env["ANSIBLE_COLLECTIONS_PATH"] = str(folder / "installed")
    return process.run(
        [paths.bin_path(argv[0]), *argv[1:]], log=log, cwd=folder, limit=limit, env=env, title="build", append=True
    )


def _build(folder: Path, log: Path, limit: float) -> str:
    """ansible-galaxy collection build, from the checkout itself."""
    argv = ["ansible-galaxy", "collection", "build", str(paths.ROOT), "--output-path", str(folder)]
    code = _call(argv, folder, log, limit).code
    return "" if code == 0 and _tarball(folder) else f"no tarball, exit code {code}"


def _tarball(folder: Path) -> Path | None:
    """The one tarball that was built."""
    found = sorted(folder.glob("aws_ha-egress-*.tar.gz"))
    return found[0] if len(found) == 1 else None


def _contents(folder: Path, log: Path, limit: float) -> str:
    """All that a user needs is shipped, and nothing else."""
    tarball = _tarball(folder)
    if tarball is None:
        return "no tarball"
    with tarfile.open(tarball) as archive:
        shipped = {member.name for member in archive.getmembers() if not member.isdir()}
    return difference(shipped, tree.files())


def difference(shipped: set[str], files: Sequence[str]) -> str:
    """In which way a tarball's files are not those of the checkout that a user needs; empty when they are."""
    wanted = {name for name in files if name.startswith(SHIPPED)}
    found = {
        "holds, which no user needs (see build_ignore in galaxy.yml)": shipped - wanted - MADE_BY_GALAXY,
        "lacks": wanted - shipped,
    }
    return "; ".join(f"the tarball {verb}: {', '.join(sorted(names)[:10])}" for verb, names in found.items() if names)


def _install(folder: Path, log: Path, limit: float) -> str:
    """ansible-galaxy collection install, into an empty folder, without the network: the ansible package has the dependencies."""
    argv = [
        "ansible-galaxy",
        "collection",
        "install",
        str(_tarball(folder)),
        "--offline",
        "--no-deps",
        "--collections-path",
        str(folder / "installed"),
    ]
    code = _call(argv, folder, log, limit).code
    manifest = folder / "installed" / "ansible_collections" / "aws_ha" / "egress" / "MANIFEST.json"
    return "" if code == 0 and manifest.exists() else f"not installed, exit code {code}"


def documented() -> dict[str, list[str]]:
    """The names of all that has to be documented, by kind."""
    return {kind: sorted(path.stem for path in paths.ROOT.glob(place)) for kind, place in DOCUMENTED}


def _documents(folder: Path, log: Path, limit: float) -> str:
    """ansible-doc knows each module, filter and role of the installed collection."""
    for kind, names in documented().items():
        mark = log.stat().st_size
        full = [f"aws_ha.egress.{name}" for name in names]
        outcome = _call(["ansible-doc", "--json", "--type", kind, *full], folder, log, limit)
        known = _json_of(log.read_bytes()[mark:].decode(errors="replace"))
        lacking = [name for name in full if name not in known]
        if outcome.code or lacking or not full:
            return (
                f"ansible-doc --type {kind} ended with {outcome.code} and does not know {', '.join(lacking) or 'any'}"
            )
    return ""


def _site(folder: Path, log: Path, limit: float) -> str:
    """antsibull-docs finds nothing wrong with the documentation, and makes a site of it that Sphinx builds without a warning."""
    installed, pages, html = folder / "installed", folder / "pages", folder / "html"
    pages.mkdir()
    (pages / "conf.py").write_text(SPHINX, encoding="ascii")
    make = ["antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"]
    commands = (
        [
            "antsibull-docs",
            "lint-collection-docs",
            "--plugin-docs",
            str(installed / "ansible_collections/aws_ha/egress"),
        ],
        [*make, "--dest-dir", str(pages), "aws_ha.egress"],
        ["sphinx-build", "-q", "-W", "--keep-going", "-b", "html", str(pages), str(html)],
    )
    for argv in commands:
        code = _call(argv, folder, log, limit).code
        if code:
            return f"{' '.join(argv[:2])} ended with {code}"
    wanted = [f"{name}_{kind}" for kind, names in documented().items() for name in names]
    lacking = [name for name in wanted if not (html / f"{name}.html").is_file()]
    return f"the site has no page {', '.join(lacking)}" if lacking else ""


def _json_of(text: str) -> dict[str, object]:
    """The JSON object in the output of a command, which may be surrounded by warnings."""
    start = text.find("{", text.find("\n"))
    try:
        found = json.JSONDecoder().raw_decode(text[start:])[0] if start >= 0 else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


STEPS = (
    ("build", _build),
    ("contents", _contents),
    ("dependencies", lambda folder, log, limit: galaxy.dependencies(_tarball(folder))),
    ("galaxy", lambda folder, log, limit: galaxy.imports(folder, _tarball(folder), log, limit)),
    ("install", _install),
    ("documentation", _documents),
    ("site", _site),
)
