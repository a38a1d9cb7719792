# SPDX-License-Identifier: GPL-3.0-or-later
"""Headless Chromium on a host of the lab, driven by Selenium and Debian's chromedriver."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from lab.fabric import netns
from lab.hosts.host import Host

T = TypeVar("T")
FLAGS = (
    "--headless",
    "--no-sandbox",  # it runs as root, and shows pages of this checkout only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
# The text elements with too little contrast to what is behind them (WCAG 2, 1.4.3: 4.5 to 1).
FAINT = """
function parts(text) { return text.match(/[\\d.]+/g).map(Number); }
function light(color) {
  var [r, g, b] = color.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
var probe = document.createElement("div");
probe.style.setProperty("background-color", "Canvas");
document.body.append(probe);
var canvas = parts(getComputedStyle(probe).backgroundColor);
probe.remove();
function behind(element) {
  for (; element; element = element.parentElement) {
    var color = parts(getComputedStyle(element).backgroundColor);
    if (color[3] === undefined || color[3] > 0) return color;
  }
  return canvas;
}
function opacity(element) {
  for (var all = 1; element; element = element.parentElement) all *= getComputedStyle(element).opacity;
  return all;
}
return [...document.querySelectorAll("body *")].filter(each =>
  each.checkVisibility() && [...each.childNodes].some(node => node.nodeType == 3 && node.textContent.trim())
).map(each => {
  var ground = behind(each), part = opacity(each);
  var shown = parts(getComputedStyle(each).color).slice(0, 3).map((c, i) => c * part + ground[i] * (1 - part));
  var one = light(shown), two = light(ground.slice(0, 3));
  return [(Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), each.textContent];
}).filter(([ratio, _text]) => ratio < 4.5);
"""


class Browser:
    """One window. A failure is a ``selenium.common.exceptions.WebDriverException``."""

    def __init__(self, host: Host, folder: Path) -> None:
        """``folder``: where its profile and the log of its driver are."""
        self._namespace = host.namespace
        self._driver = self._there(lambda: _start(folder))

    def open(self, url: str) -> None:
        """Load a page."""
        self._there(lambda: self._driver.get(url))

    def run(self, script: str) -> Any:
        """Run the body of a function in the page. Returns its value."""
        return self._there(lambda: self._driver.execute_script(script))  # type: ignore[no-untyped-call]

    def text(self) -> str:
        """All words that a reader sees, in one line."""
        return " ".join(str(self.run("return document.body.innerText")).split())

    def title(self) -> str:
        """The words in the tab."""
        return self._there(lambda: self._driver.title)

    def show(self, width: int, height: int, scheme: str) -> None:
        """The size of the screen, and the colours that the reader prefers: ``light`` or ``dark``."""
        phone = width < 600
        self._debug("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self._debug("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path) -> None:
        """The screen as PNG."""
        path.write_bytes(self._there(self._driver.get_screenshot_as_png))

    def faint(self) -> list[tuple[float, str]]:
        """Contrast and text of each element that is too hard to read."""
        return [(round(ratio, 2), text) for ratio, text in self.run(FAINT)]

    def requests(self) -> list[str]:
        """The addresses that pages have asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        # Pages of the browser itself: the first one of a window, and that of a server which does not answer.
        return [each["request"]["url"] for each in sent if not each["documentURL"].startswith(("chrome", "data:"))]

    def complaints(self) -> list[str]:
        """The words of the browser's console since the last call."""
        return [str(entry["message"]) for entry in self._log("browser")]

    def close(self) -> None:
        """End the browser and its driver."""
        self._there(self._driver.quit)

    def _debug(self, command: str, **parameters: Any) -> None:
        self._there(lambda: self._driver.execute_cdp_cmd(command, parameters))

    def _log(self, kind: str) -> list[dict[str, Any]]:
        return self._there(lambda: list(self._driver.get_log(kind)))

    def _there(self, call: Callable[[], T]) -> T:
        """The driver starts, and is asked, on the browser's host."""
        return netns.inside(self._namespace, call)


def _start(folder: Path) -> Chrome:
    """Nothing is looked for or downloaded: both programs are named."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = ChromeService(shutil.which("chromedriver"), log_output=str(folder / "chromedriver.log"))
    with patch.dict(os.environ, no_proxy="*"):  # neither the driver nor the page is asked through a proxy
        return Chrome(options, service)


@contextmanager
def browser(host: Host, folder: Path) -> Iterator[Browser]:
    """A browser on a host, for the time of a ``with``."""
    made = Browser(host, folder)
    try:
        yield made
    finally:
        made.close()
