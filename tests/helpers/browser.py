"""A headless Chromium driven through ChromeDriver's W3C WebDriver protocol, with nothing but requests."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

INSTALLED = shutil.which("chromium") is not None and shutil.which("chromedriver") is not None
FLAGS = (
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that the W3C standard gives an element's handle


class Browser:
    """One window. `root`: the address of its WebDriver session."""

    def __init__(self, root: str) -> None:
        self.root = root

    def _post(self, path: str, **body: object) -> object:
        answer = requests.post(f"{self.root}/{path}", json=body, timeout=120)
        value = answer.json()["value"]
        assert answer.ok, value
        return value

    def open(self, address: str) -> None:
        self._post("url", url=address)

    def find(self, selector: str) -> str:
        return self._post("element", using="css selector", value=selector)[ELEMENT]

    def click(self, selector: str) -> None:
        self._post(f"element/{self.find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """Text into a field; a path into a file input."""
        self._post(f"element/{self.find(selector)}/value", text=text)

    def run(self, script: str, *arguments: object) -> object:
        """The value that JavaScript returns."""
        return self._post("execute/sync", script=script, args=list(arguments))

    def drag(self, selector: str, points: list[tuple[int, int]]) -> None:
        """Presses at the first point (CSS pixels from the element's middle), moves through the others, releases."""
        origin = {ELEMENT: self.find(selector)}
        moves = [{"type": "pointerMove", "duration": 40, "origin": origin, "x": x, "y": y} for x, y in points]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self._post("actions", actions=[{"type": "pointer", "id": "mouse", "actions": steps}])

    def wait(self, script: str, timeout_s: float = 60.0) -> None:
        """Until JavaScript returns something true."""
        end = time.monotonic() + timeout_s
        while not self.run(script):
            assert time.monotonic() < end, f"not within {timeout_s} s: {script}"
            time.sleep(0.1)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(requests.get(f"{self.root}/screenshot", timeout=60).json()["value"]))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def browser(width: int = 1200, height: int = 1100, dark: bool = False) -> Iterator[Browser]:
    """A new Chromium with an empty profile, gone afterwards."""
    port = free_port()
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    root = f"http://127.0.0.1:{port}"
    try:
        with tempfile.TemporaryDirectory() as profile:
            _await(f"{root}/status")
            flags = [*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
            flags += ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
            options = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": flags}}}
            answer = requests.post(f"{root}/session", json={"capabilities": options}, timeout=120).json()["value"]
            assert "sessionId" in answer, answer
            session = f"{root}/session/{answer['sessionId']}"
            try:
                yield Browser(session)
            finally:
                requests.delete(session, timeout=60)  # ends Chromium; the driver alone would leave it
    finally:
        driver.terminate()
        driver.wait(20)


def _await(address: str, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < end, f"{address} does not answer"
        time.sleep(0.1)
