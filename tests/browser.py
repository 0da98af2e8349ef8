"""A real headless Chromium, driven by the Chrome DevTools Protocol over its websocket."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
"""None where there is no browser."""

_OPTIONS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-sandbox",  # containers forbid what the sandbox is made of
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # no outside network
    "about:blank",
)


class Browser:
    """One page; every method waits until it is done."""

    def __init__(self, folder: Path, width: int = 1280, height: int = 900) -> None:
        """Start the browser with an empty profile in `folder`."""
        assert CHROMIUM is not None
        self._loop = asyncio.new_event_loop()
        self._process = subprocess.Popen(
            [CHROMIUM, f"--user-data-dir={folder}", f"--window-size={width},{height}", *_OPTIONS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._calls = 0
        self.events: list[dict[str, Any]] = []
        """What the page told: requests, console messages, dialogs."""
        port_file = folder / "DevToolsActivePort"
        wait_for(lambda: port_file.is_file() and len(port_file.read_text().split()) == 2, 60)
        self._run(self._connect(port_file.read_text().split()[0]))
        for domain in ("Page", "Runtime", "Network", "DOM", "Accessibility", "Log"):
            self.call(f"{domain}.enable")

    async def _connect(self, port: str) -> None:
        self._session = aiohttp.ClientSession()
        address = f"http://127.0.0.1:{port}/json/list"
        async with self._session.get(address) as answer:
            pages = [page for page in await answer.json() if page["type"] == "page"]
        self._socket = await self._session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=0
        )

    def _run(self, work: Any) -> Any:
        return self._loop.run_until_complete(work)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        return self._run(asyncio.wait_for(self._call(method, parameters), 60))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._calls += 1
        await self._socket.send_str(
            json.dumps({"id": self._calls, "method": method, "params": parameters})
        )
        while True:
            answer = json.loads(await self._socket.receive_str())
            if answer.get("id") == self._calls:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def open(self, address: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Wait until an expression in the page is true."""
        wait_for(lambda: self.evaluate(f"Boolean({condition})"), seconds, condition)

    def text(self, selector: str) -> str:
        """What is to be read in the first element of a selector."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element."""
        x, y = self.evaluate(
            f"""(() => {{ const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2]; }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Put `text` in a field in place of what it holds, as from a keyboard."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """Press a key: its name, such as `Tab`, and its number on a keyboard of Windows."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        if key == "Enter":
            about["text"] = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file for an upload."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser."""
        self._run(self._session.close())
        self._process.terminate()
        self._process.wait(30)
        self._loop.close()


def wait_for(condition: Any, seconds: float, what: str = "") -> None:
    """Ask again and again until it is true."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {what or condition}"
        time.sleep(0.05)
