# SPDX-License-Identifier: GPL-3.0-or-later
"""The live page of a node of the lab, in a browser on the operator's host."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import WebDriverException

from lab.fabric.names import OPS, OPS_ADDRESS
from tests.integration.e2e.cluster import Cluster, running_cluster
from tests.integration.page.browser import Browser, browser

PORT = 9743
ADDRESS = "10.0.0.10"
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
SHAPES = {"well": "●", "DEGRADED": "▲", "CRITICAL": "■", "UNKNOWN": "?", "NO CONTACT": ""}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here makes network namespaces, and starts a browser in one."""
    for item in items:
        if "integration/page" in item.nodeid:
            item.add_marker(pytest.mark.root)
            item.add_marker(pytest.mark.timeout(300))
            if os.geteuid() != 0:
                raise pytest.UsageError("tests/integration/page makes network namespaces: run it as root")
            if shutil.which("chromedriver") is None:
                raise pytest.UsageError("chromedriver is not here: run `./dev test --only page`, which installs it")


class Page:
    """The page of nat-a, and what is needed to look at it."""

    def __init__(self, cluster: Cluster, seen: Browser, folder: Path) -> None:
        self.cluster, self.browser, self.folder = cluster, seen, folder
        self._web: subprocess.Popen[bytes] | None = None

    def serve(self) -> None:
        """Start the web process, as its unit does."""
        words = ["web", "--cluster", "lab", "--node", "nat-a", "--listen", ADDRESS, "--allow", f"{OPS_ADDRESS}/32"]
        words += ["--socket", str(self.cluster.folder / "nat-a" / "run" / "status.sock")]
        argv, host = self.cluster.command("nat-a", *words), self.cluster.lab.host("nat-a")
        with (self.folder / "web.log").open("ab") as log:
            self._web = host.popen(argv, env=self.cluster.environment(), stdout=log, stderr=log)

    def stop(self) -> None:
        """End the web process."""
        if self._web is not None:
            self._web.terminate()
            self._web.wait()

    def load(self) -> None:
        """Open the page once its process answers."""
        self.until("the page is there", lambda: not self._is_refused())

    def _is_refused(self) -> bool:
        try:
            self.browser.open(f"http://{ADDRESS}:{PORT}/")
        except WebDriverException:
            return True
        return False

    def until(self, what: str, true: Callable[[], bool], seconds: float = 40.0) -> None:
        """Wait until something is true. On a timeout the page is in the error."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not within {seconds} s: {what}\n{self.browser.text()}"
            time.sleep(0.1)

    def says(self, *words: str, seconds: float = 40.0) -> str:
        """The text of the page once it has all these words. Nobody loads it: it renews itself."""
        last = ""

        def found() -> bool:
            nonlocal last
            last = self.browser.text()
            return all(word in last for word in words)

        self.until(f"the page says {words}", found, seconds)
        return last

    def look(self, name: str, word: str) -> None:
        """Read the page on each screen in each scheme: what it shows is ``word``, by words, readable, within the width."""
        shape, words = SHAPES[word], [*word.split(), "nat-a"]
        for screen, (width, height) in SCREENS.items():
            for scheme in SCHEMES:
                self.browser.show(width, height, scheme)
                self.until(f"the tab says {word}", lambda: self.browser.title().split() == [*shape, *words])
                self.browser.picture(self.folder / f"{name}-{screen}-{scheme}.png")
                assert self.browser.run("return document.documentElement.scrollWidth") <= width, (name, screen)
                assert self.browser.faint() == [], (name, screen, scheme)
                dark = (
                    self.browser.run("return getComputedStyle(document.querySelector('main')).color") != "rgb(0, 0, 0)"
                )
                assert dark == (scheme == "dark"), "the page follows the reader's colours"

    def unmarked(self) -> list[str]:
        """The texts whose level is told by colour alone: without the shape that stands for it."""
        shapes = {"well": "●", "degraded": "▲", "critical": "■", "unknown": "?"}
        script = "return [...document.querySelectorAll('main [class]')].map(each => [each.className, each.textContent])"
        return [
            text
            for names, text in self.browser.run(script)
            for level in set(names.split()) & set(shapes)
            if not text.strip().startswith(shapes[level])
        ]


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Open in the browser, everything well. A dead node stays dead until a test boots it."""
    folder = Path(os.environ.get("PAGE_PICTURES") or tmp_path_factory.mktemp("page"))
    folder.mkdir(exist_ok=True)
    settings = {"fence": {"policy": "none"}}
    with running_cluster(tmp_path_factory.mktemp("cluster"), settings=settings, helpers=True) as cluster:
        with browser(cluster.lab.host(OPS), folder) as seen:
            made = Page(cluster, seen, folder)
            made.serve()
            try:
                made.load()
                yield made
            finally:
                made.stop()
