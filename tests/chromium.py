"""A real browser for tests of pages: headless Chromium, steered over its debugging pipe, without the network."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE, DESKTOP = 390, 1280  # pixels wide
PATIENCE = 60  # seconds
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and answers on 4.
LAUNCH = """
import os, sys
for place, descriptor in ((20, sys.argv[1]), (21, sys.argv[2])):
    os.dup2(int(descriptor), place)
os.dup2(20, 3)
os.dup2(21, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
LOOK = """
(async () => {
  document.querySelectorAll("details").forEach((one) => (one.open = true));
  const images = [...document.images];
  await Promise.all(images.map((one) => one.decode().catch(() => 0)));
  const width = document.documentElement.clientWidth;
  const outside = [...document.body.querySelectorAll("*")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width > 0 && (box.right > width + 1 || box.left < -1) && !one.closest(".scroll, code, .commands");
  });
  return JSON.stringify({
    width: innerWidth,
    scroll: document.documentElement.scrollWidth,
    images: images.length,
    broken: images.filter((one) => !one.complete || !one.naturalWidth).length,
    outside: outside.map((one) => one.tagName + "." + (one.getAttribute("class") || "") + ": " + one.textContent),
    background: getComputedStyle(document.body).backgroundColor,
  });
})()
"""


@dataclass
class Look:
    """What a page looks like at one width.

    Attributes:
        page: its own words: width, scroll, images, broken, outside, background.
        requests: addresses that it asked for, its own and data left out.
        complaints: errors and warnings on the console.
    """

    page: dict[str, Any]
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Chromium:
    """One browser with one page; `with Chromium(folder) as browser`, the folder being new and empty."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        options = [*OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out), PROGRAM, *options],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._read, self._session = 0, b"", ""
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        try:
            self.ask("Browser.close")
            self._process.wait(10)
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def look(self, path: Path, *, width: int, scheme: str = "light", media: str = "screen") -> Look:
        """Open a page file at a width, in a colour scheme, and wait for its images."""
        mobile = width <= 500
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=mobile)
        self.ask(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        self._events.clear()
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._next()
        value = self.ask("Runtime.evaluate", expression=LOOK, awaitPromise=True, returnByValue=True)
        seen = Look(json.loads(value["result"]["value"]))
        for event in self._events:
            said = event["params"]
            if event["method"] == "Network.requestWillBeSent":
                address = said["request"]["url"]
                if address != path.as_uri() and not address.startswith("data:"):
                    seen.requests.append(address)
            elif event["method"] in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                seen.complaints.append(json.dumps(said))
        return seen

    def picture(self) -> bytes:
        """The whole page as PNG, also what is below the window."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def printed(self) -> bytes:
        """The page as PDF, A4."""
        return base64.b64decode(self.ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"])

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._in], [], [], max(0, end - time.monotonic()))
            assert ready, f"Chromium said nothing for {PATIENCE} seconds"
            block = os.read(self._in, 1 << 20)
            assert block, "Chromium is gone"
            self._read += block
        message, _, self._read = self._read.partition(b"\0")
        value: dict[str, Any] = json.loads(message)
        if "method" in value:
            self._events.append(value)
        return value
