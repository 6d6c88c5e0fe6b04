"""Just enough of W3C WebDriver to drive a headless Chromium, with the standard library alone.

Selenium would bring a dozen packages for the few requests the report page's tests make.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
_CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class BrowserError(RuntimeError):
    """The browser refused a request or did not start."""


def missing() -> str | None:
    """Return why no browser can be driven here, or None where one can."""
    if not any(map(shutil.which, _CHROMIUMS)):
        return "no Chromium is installed (Debian: apt-get install chromium chromium-driver)"
    if not shutil.which("chromedriver"):
        return "no chromedriver is installed (Debian: apt-get install chromium-driver)"
    return None


class Browser:
    """A headless Chromium; a context manager that ends it."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self._profile = TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            self._root = f"http://127.0.0.1:{self._port()}"
            binary = next(path for path in map(shutil.which, _CHROMIUMS) if path)
            arguments = [
                "--headless=new",
                # Containers run tests as root and with a small /dev/shm.
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={self._profile.name}",
            ]
            capabilities = {
                "goog:chromeOptions": {"binary": binary, "args": arguments},
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            session = self._request(
                "POST", "/session", {"capabilities": {"alwaysMatch": capabilities}}
            )
            self._root += f"/session/{session['sessionId']}"
            self.resize(width, height)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            if "/session/" in getattr(self, "_root", ""):
                self._request("DELETE", "", None)
        except BrowserError:
            pass
        self._driver.terminate()
        self._driver.wait(timeout=20)
        if self._driver.stdout:
            self._driver.stdout.close()
        self._profile.cleanup()

    def _port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip().rstrip(".").rpartition(" ")[2])
        raise BrowserError("chromedriver did not start")

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            # An empty handler: a proxy set in the environment has no business here.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise BrowserError(json.load(error)["value"]["message"].splitlines()[0]) from None
        except OSError as error:
            raise BrowserError(str(error)) from error

    def resize(self, width: int, height: int) -> None:
        """Give the page a viewport of exactly this size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)

    def dark(self, dark: bool) -> None:
        """Say that the user prefers dark (or light) pages."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", {"features": features})

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        """Send a command of the Chrome DevTools Protocol."""
        return self._request("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, path: Path) -> None:
        """Open a page from disk and wait until it is loaded."""
        self._request("POST", "/url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a JavaScript function and return what it returns (a promise: its value).

        Raises:
            BrowserError: if it throws.
        """
        return self._request("POST", "/execute/sync", {"script": script, "args": arguments})

    def texts(self, selector: str) -> list[str]:
        """Return the text of every element that ``selector`` finds."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((n) => n.textContent)",
            selector,
        )
        return found

    def _find(self, selector: str) -> str:
        found = self._request("POST", "/element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def click(self, selector: str) -> None:
        """Click as a user does: it fails if the element is hidden or covered."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        self._request("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Replace the text of a field, key by key."""
        element = self._find(selector)
        self._request("POST", f"/element/{element}/clear", {})
        if text:
            self._request("POST", f"/element/{element}/value", {"text": text})

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        """Press the mouse at the first point of the viewport, move along, and release."""
        moves: list[dict[str, Any]] = [
            {"type": "pointerMove", "duration": 50, "x": round(x), "y": round(y)} for x, y in points
        ]
        moves.insert(1, {"type": "pointerDown", "button": 0})
        moves.append({"type": "pointerUp", "button": 0})
        source = {
            "type": "pointer",
            "id": "mouse",
            "parameters": {"pointerType": "mouse"},
            "actions": moves,
        }
        self._request("POST", "/actions", {"actions": [source]})

    def swipe(self, points: Sequence[tuple[float, float]]) -> None:
        """Touch the first point of the viewport, move along, and let go."""
        kinds = ["touchStart", *["touchMove"] * (len(points) - 1)]
        for kind, (x, y) in zip(kinds, points, strict=True):
            touch = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
            self.devtools("Input.dispatchTouchEvent", touch)
        self.devtools("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def wait(self, script: str, seconds: float = 15) -> None:
        """Wait until ``script`` returns something true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end:
                raise BrowserError(f"waited {seconds} s in vain for: {script}")
            time.sleep(0.05)

    def log(self, kind: str = "browser") -> list[dict[str, Any]]:
        """Return and clear the entries of the console (or of the ``performance`` log)."""
        entries: list[dict[str, Any]] = self._request("POST", "/se/log", {"type": kind})
        return entries

    def screenshot(self, path: Path, *, full: bool = False) -> None:
        """Save a PNG of the viewport, or of the whole page."""
        picture = self.devtools("Page.captureScreenshot", {"captureBeyondViewport": full})
        path.write_bytes(base64.b64decode(picture["data"]))
