# SPDX-License-Identifier: GPL-3.0-or-later
"""Headless Chromium on a host of the lab, driven by its chromedriver over HTTP (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.fabric import netns
from lab.hosts.host import Host

PORT = 9515
STARTS_WITHIN = 60.0  # seconds; a browser that is started for the first time reads 200 MB
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
    """One window. A failure of the protocol is an ``AssertionError`` with the browser's words."""

    def __init__(self, host: Host, folder: Path) -> None:
        """``folder``: where its profile is."""
        self._namespace = host.namespace
        self._session = ""
        options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={folder}"]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        end = time.monotonic() + STARTS_WITHIN
        while not self._is_ready():
            assert time.monotonic() < end, "chromedriver does not start"
            time.sleep(0.1)
        self._session = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def open(self, url: str) -> None:
        """Load a page."""
        self._ask("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """Run the body of a function in the page. Returns its value."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def text(self) -> str:
        """All words that a reader sees, in one line."""
        return " ".join(str(self.run("return document.body.innerText")).split())

    def title(self) -> str:
        """The words in the tab."""
        return str(self.run("return document.title"))

    def show(self, width: int, height: int, scheme: str) -> None:
        """The size of the screen, and the colours that the reader prefers: ``light`` or ``dark``."""
        phone = width < 600
        self._debug("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self._debug("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path) -> None:
        """The screen as PNG."""
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def faint(self) -> list[tuple[float, str]]:
        """Contrast and text of each element that is too hard to read."""
        return [(round(ratio, 2), text) for ratio, text in self.run(FAINT)]

    def requests(self) -> list[str]:
        """The addresses that pages have asked for since the last call."""
        entries = self._ask("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        # Pages of the browser itself: the first one of a window, and that of a server which does not answer.
        return [each["request"]["url"] for each in sent if not each["documentURL"].startswith(("chrome", "data:"))]

    def complaints(self) -> list[str]:
        """The words of the browser's console since the last call."""
        return [str(entry["message"]) for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def close(self) -> None:
        """End the browser."""
        self._ask("DELETE", "")

    def _debug(self, command: str, **parameters: Any) -> None:
        self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _is_ready(self) -> bool:
        try:
            return bool(self._request("GET", "/status", None)[1]["ready"])
        except OSError:
            return False

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The value of an answer."""
        code, value = self._request(method, f"/session/{self._session}{path}" if self._session else "/session", body)
        assert code == 200, value
        return value

    def _request(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        def call() -> tuple[int, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=STARTS_WITHIN)
            try:
                connection.request(method, path, None if body is None else json.dumps(body))
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())["value"]
            finally:
                connection.close()

        return netns.inside(self._namespace, call)


@contextmanager
def browser(host: Host, folder: Path) -> Iterator[Browser]:
    """A browser on a host, for the time of a ``with``."""
    with (folder / "chromedriver.log").open("wb") as log:
        driver = host.popen(["chromedriver", f"--port={PORT}"], stdout=log, stderr=subprocess.STDOUT)
        try:
            made = Browser(host, folder / "profile")
            yield made
            made.close()
        finally:
            driver.terminate()
            driver.wait()
