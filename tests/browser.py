"""A headless Chromium, spoken to over a pipe (Chrome DevTools Protocol); nothing needs to be installed but itself."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_browser() -> str | None:
    """Where the browser is; CLOWNFISH_TEST_BROWSER names another. Pipes by number exist on POSIX only."""
    if os.name != "posix":
        return None
    named = os.environ.get("CLOWNFISH_TEST_BROWSER")
    return named or next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One page of it."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._buffer, self._number = write, read, b"", 0
        self._waiting: list[dict[str, Any]] = []
        self.requests: list[str] = []
        """Addresses that the page and its workers asked for, without those that they made themselves."""
        self.messages: list[str] = []
        """Warnings and errors of the console, and errors that nothing caught, in the page and in its workers."""
        self._session: str | None = None
        self._is_offline = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = self._send(method, self._session, **parameters)
        while True:
            answer = self._receive(60)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def go_offline(self, offline: bool = True) -> None:
        self._is_offline = offline
        self.call("Network.emulateNetworkConditions", **self._describe_network())

    def _describe_network(self) -> dict[str, Any]:
        return {"offline": self._is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}

    def _send(self, method: str, session: str | None, **parameters: Any) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._number

    def set_languages(self, languages: str) -> None:
        self.call("Emulation.setUserAgentOverride", userAgent="Mozilla/5.0 (test) Chrome", acceptLanguage=languages)

    def set_looks(self, *, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait_for("document.body && document.body.dataset.state && document.body.dataset.state != 'loading'")

    def evaluate(self, expression: str) -> Any:
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):  # between two pages
                if self.evaluate(f"Boolean({condition})"):
                    return
            assert time.monotonic() < end, f"not within {seconds} s: {condition}"
            time.sleep(0.05)

    def choose_files(self, selector: str, files: Sequence[Path]) -> None:
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")["result"]
        self.call("DOM.setFileInputFiles", files=[str(file) for file in files], objectId=found["objectId"])

    def press(self, key: str, code: int = 0) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def _receive(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser is gone"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, facts: dict[str, Any]) -> None:
        if method == "Target.attachedToTarget" and self._session:  # a worker of the page, which waits for this
            for domain in ("Runtime", "Network", "Log"):
                self._send(f"{domain}.enable", facts["sessionId"])
            self._send("Network.emulateNetworkConditions", facts["sessionId"], **self._describe_network())
            self._send("Runtime.runIfWaitingForDebugger", facts["sessionId"])
        if method == "Network.requestWillBeSent" and not facts["request"]["url"].startswith(("blob:", "data:")):
            self.requests.append(facts["request"]["url"])
        if method == "Runtime.exceptionThrown":
            self.messages.append(json.dumps(facts["exceptionDetails"]))
        if method == "Log.entryAdded" and facts["entry"]["level"] in ("warning", "error"):
            self.messages.append(facts["entry"]["text"])
        if method == "Runtime.consoleAPICalled" and facts["type"] in ("warning", "error"):
            text = " ".join(str(argument.get("value")) for argument in facts["args"])
            if not text.startswith("INFO: "):  # LiteRT's way to say that all is well
                self.messages.append(text)


@contextlib.contextmanager
def start_browser() -> Iterator[Browser]:
    path = find_browser()
    assert path is not None
    their_read, our_write = os.pipe()
    our_read, their_write = os.pipe()

    import fcntl

    # the browser wants them as 3 and 4, where a program puts them from numbers that are in nobody's way
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, 20) for number in (their_read, their_write)]
    redirect = f"import os, sys; os.dup2({high[0]}, 3); os.dup2({high[1]}, 4); os.execv(sys.argv[1], sys.argv[1:])"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        options += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", redirect, path, *options, f"--user-data-dir={profile}"],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in (their_read, their_write, *high):
            os.close(number)
        try:
            yield Browser(our_write, our_read)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(our_write)
            os.close(our_read)
