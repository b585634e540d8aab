"""A headless Chromium, driven over its DevTools protocol: JSON over a pipe, so no port and no library.

::

    with Browser(tmp_path) as browser:
        browser.open(url)
        browser.until("document.title === 'x'", "it has loaded")
        assert browser.problems == []
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = "/usr/bin/chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",  # its sandbox needs namespaces that a container may not have; it opens this page only
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-crash-reporter",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
ANSWER_SECONDS = 20.0
STOP_SECONDS = 5.0


class Browser:
    """One page in one browser. Mutable: `problems`, what its console complained of; `requested`, all URLs."""

    def __init__(self, directory: Path, width: int = 1280, height: int = 900) -> None:
        self._profile = directory / "chromium"
        self._size = width, height
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._unread = b""
        self._session = ""
        self.problems: list[str] = []
        self.requested: list[str] = []

    def __enter__(self) -> Self:
        if self._profile.exists():
            shutil.rmtree(self._profile)
        self._profile.mkdir(parents=True)
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self._process = subprocess.Popen(
            # It reads from descriptor 3 and writes to 4.
            ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "bash", PROGRAM, *FLAGS,
             f"--user-data-dir={self._profile}", "--window-size={},{}".format(*self._size), "about:blank"],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._profile)},
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        try:
            self._attach()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """Closing its pipe ends it."""
        assert self._process is not None
        os.close(self._commands)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _attach(self) -> None:
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    # What it does

    def open(self, url: str) -> None:
        failed = self._ask("Page.navigate", url=url).get("errorText")
        assert failed is None, f"{url}: {failed}"

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page, as JSON has it."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, f"{expression}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def until(self, expression: str, what: str, seconds: float = ANSWER_SECONDS) -> None:
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"not {what} in {seconds:g} s; it shows:\n{self.text()}"
            select.select([], [], [], 0.05)

    def text(self, selector: str = "body") -> str:
        """What is to be seen."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def heard(self) -> list[tuple[str, str]]:
        """Role and name of everything that somebody hears who does not see the page."""
        nodes = self._ask("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def emulate(self, *, dark: bool = False, width: int = 0, height: int = 0, scale: float = 1) -> None:
        """Another screen; width 0 leaves it as it is."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("Emulation.setEmulatedMedia", features=features)
        if width:
            self._ask("Emulation.setDeviceMetricsOverride",
                      width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)  # fmt: skip

    def screenshot(self, path: Path) -> None:
        """All of the page, as PNG."""
        taken = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    # The protocol

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            message = self._next(end, method)
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _next(self, end: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._unread:
            readable, _, _ = select.select([self._answers], [], [], max(end - time.monotonic(), 0))
            got = os.read(self._answers, 1 << 20) if readable else b""
            assert got, f"chromium {'ended' if readable else 'does not answer'}, asked for {method}"
            self._unread += got
        first, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        found = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(found["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.problems.append(json.dumps(found["args"]))
            case "Log.entryAdded":
                self.problems.append(f"{found['entry']['text']} {found['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requested.append(found["request"]["url"])
