"""A Firefox of the system's own, driven by what it has itself: Marionette, JSON over a socket.

Playwright drives a Firefox that it builds, not the one that Debian ships to hospitals.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENTER, ESCAPE, DOWN = "\ue007", "\ue00c", "\ue015"
"""Keys as WebDriver names them."""

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.startup.page": 0,
}


def firefox() -> str | None:
    """The path of a Firefox; None where there is none."""
    return next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)


class Refused(Exception):
    """What the browser answered instead of doing it."""


class Firefox:
    """One window."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._buffer, self._number = connection, b"", 0
        self._receive()  # it tells its protocol
        self._ask("WebDriver:NewSession", capabilities={"alwaysMatch": {}})
        self._ask("WebDriver:SetWindowRect", width=1280, height=900)

    @staticmethod
    @contextmanager
    def started(folder: Path) -> Iterator[Firefox]:
        """A fresh one, with its profile in ``folder``; it ends with the block."""
        path = firefox()
        assert path is not None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        chosen = {**_PREFERENCES, "marionette.port": port}
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in chosen.items()]
        (folder / "user.js").write_text("".join(lines))
        command = [path, "--headless", "--no-remote", "--marionette", "--profile", str(folder)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            with Firefox._connected(port, process, folder / "log") as connection:
                yield Firefox(connection)
        finally:
            process.terminate()
            process.wait(20)

    @staticmethod
    def _connected(port: int, process: subprocess.Popen[bytes], log: Path) -> socket.socket:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=120)
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"Firefox did not listen within a minute: {log.read_text()}")

    def _receive(self) -> Any:
        while b":" not in self._buffer:
            self._more()
        length, _, rest = self._buffer.partition(b":")
        self._buffer = rest
        while len(self._buffer) < int(length):
            self._more()
        told, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        return json.loads(told)

    def _more(self) -> None:
        got = self._connection.recv(1 << 16)
        assert got, "Firefox has gone"
        self._buffer += got

    def _ask(self, command: str, **what: Any) -> Any:
        self._number += 1
        told = json.dumps([0, self._number, command, what]).encode()
        self._connection.sendall(b"%d:%s" % (len(told), told))
        _, _, fault, result = self._receive()
        if fault:
            raise Refused(f"{command}: {fault['error']}: {fault['message']}")
        return result

    def go(self, address: str) -> None:
        """Load a page."""
        self._ask("WebDriver:Navigate", url=address)

    def tell(self, script: str, *arguments: Any) -> Any:
        """What a script of the page's returns."""
        return self._ask("WebDriver:ExecuteScript", script=script, args=list(arguments))["value"]

    def wait(self, script: str, *arguments: Any) -> None:
        """Until the script returns what is true; for a minute at most."""
        for _ in range(600):
            if self.tell(script, *arguments):
                return
            time.sleep(0.1)
        shown = self.tell("return document.body.innerText.slice(0, 2000)")
        raise AssertionError(f"a minute, and not: {script}; the page says {shown}")

    def find(self, selector: str) -> str:
        """The first element that fits, once it is seen."""
        self.wait("return document.querySelector(arguments[0])?.checkVisibility()", selector)
        found = self._ask("WebDriver:FindElement", using="css selector", value=selector)
        return str(found["value"][_ELEMENT])

    def click(self, selector: str) -> None:
        """A click in the middle of it."""
        self._ask("WebDriver:ElementClick", id=self.find(selector))

    def type(self, selector: str, text: str) -> None:
        """Into a field; of a field for files, a path."""
        self._ask("WebDriver:ElementSendKeys", id=self.find(selector), text=text)

    def press(self, *keys: str) -> None:
        """One key after the other, wherever the focus is."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask(
            "WebDriver:PerformActions", actions=[{"type": "key", "id": "keys", "actions": strokes}]
        )

    def drag(self, selector: str, start: tuple[int, int], end: tuple[int, int]) -> None:
        """With the left button, in pixels from the middle of the element."""
        origin = {_ELEMENT: self.find(selector)}

        def move(place: tuple[int, int]) -> dict[str, Any]:
            x, y = place
            return {"type": "pointerMove", "x": x, "y": y, "origin": origin, "duration": 50}

        halfway = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
        strokes = [
            move(start), {"type": "pointerDown", "button": 0}, move(halfway), move(end),
            {"type": "pointerUp", "button": 0},
        ]  # fmt: skip
        pointer = {"type": "pointer", "id": "mouse", "actions": strokes}
        self._ask("WebDriver:PerformActions", actions=[pointer])
