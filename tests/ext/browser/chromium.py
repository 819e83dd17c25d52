"""A real Chromium without a window, driven by the DevTools protocol over a pair of pipes, in the test's own reactor."""

from __future__ import annotations

import json
import os
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.processes import environment
from tests.receivers import program
from tests.strict import the_reactor

ARGUMENTS = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-pipe"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-dev-shm-usage", "--force-color-profile=srgb", "--lang=en-US", "--mute-audio"),
)

TO_BROWSER, FROM_BROWSER = 3, 4
"""The descriptors on which it listens and answers."""

SECONDS = 15.0
"""How long a page may take for anything, on a busy machine."""


class CommandFailedError(Exception):
    """The browser refused a command, or the script that it was given raised."""


class Chromium(ProcessProtocol):
    """One browser with an empty profile in ``directory``; ``start`` it before use, ``stop`` it at the end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._received = b""
        self._commands = 0
        self._waiting: dict[int, Deferred[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._ended: Deferred[None] = Deferred()
        self._said = b""

    async def start(self) -> None:
        """Returns when it answers; fails the test in one sentence if there is no Chromium."""
        path = program("chromium", "chromium")
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [str(path), *ARGUMENTS, *sandbox, f"--user-data-dir={self._directory}", "about:blank"]
        pipes: dict[int, str | int] = {0: "w", 1: "r", 2: "r", TO_BROWSER: "w", FROM_BROWSER: "r"}
        home = {"HOME": str(self._directory), "TZ": "UTC"}
        the_reactor().spawnProcess(self, str(path), command, environment(**home), str(self._directory), childFDs=pipes)
        await self.call("Browser.getVersion")

    async def stop(self) -> None:
        """Returns when it has ended."""
        if self._ended.called:
            return
        self.transport.writeToChild(TO_BROWSER, _message({"id": 0, "method": "Browser.close"}))
        late = the_reactor().callLater(SECONDS, self.transport.signalProcess, "KILL")
        await self._ended
        if late.active():
            late.cancel()

    async def page(self, width: int = 1280, height: int = 900, **features: str) -> Page:
        """An empty page that shares nothing with others, of so many pixels; ``features`` are of CSS's media."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        made = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"], context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=WITNESS)
        await page.call("Emulation.setFocusEmulationEnabled", enabled=True)  # several pages, and each has the focus
        await page.resize(width, height)
        await page.prefer(**features)
        return page

    async def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The browser's answer to one command."""
        self._commands += 1
        message = {"id": self._commands, "method": method, "params": parameters}
        answer: Deferred[dict[str, Any]] = Deferred()
        self._waiting[self._commands] = answer
        self.transport.writeToChild(TO_BROWSER, _message(message | ({} if session is None else {"sessionId": session})))
        return await answer

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        if descriptor != FROM_BROWSER:
            self._said += data
            return
        *messages, self._received = (self._received + data).split(b"\0")
        for message in messages:
            self._take(json.loads(message))

    def processEnded(self, reason: Failure) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.errback(CommandFailedError(f"the browser is gone ({reason.getErrorMessage()}): {self._said!r}"))
        if not reason.check(ProcessDone):
            self._said += reason.getErrorMessage().encode()
        self._ended.callback(None)

    def _take(self, message: dict[str, Any]) -> None:
        answer = self._waiting.pop(message.get("id", 0), None)
        if answer is None:
            page = self._pages.get(message.get("sessionId", ""))
            if page is not None:
                page.event(message["method"], message["params"])
        elif "error" in message:
            answer.errback(CommandFailedError(message["error"]["message"]))
        else:
            answer.callback(message["result"])


WITNESS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
"""What a page runs before its own scripts, so that a test can ask it for what its policy has forbidden."""

KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), " ": (32, " ")}


class Page:
    """One tab. ``errors`` is what its console complained of, ``addresses`` is what it asked for."""

    def __init__(self, browser: Chromium, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._context = context
        self.errors: list[str] = []
        self.addresses: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The page's answer to one command of the DevTools protocol."""
        return await self._browser.call(method, self._session, **parameters)

    async def open(self, address: str) -> None:
        """Go to an address, and return when the document is there."""
        answer = await self.call("Page.navigate", url=address)
        if "errorText" in answer:
            raise CommandFailedError(f"{address}: {answer['errorText']}")
        await self.until("document.readyState === 'complete'")

    async def close(self) -> None:
        """Close the tab with all that it keeps; returns when its connections are of no more concern."""
        await self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, which may be a promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise CommandFailedError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = SECONDS) -> None:
        """Ask until JavaScript takes ``expression`` for true; AssertionError after ``seconds``."""
        end = time.monotonic() + seconds
        while not await self.ask(f"Boolean({expression})"):
            if time.monotonic() > end:
                seen = await self.ask("document.body.innerText.slice(0, 3000)")
                raise AssertionError(f"not within {seconds:g} s: {expression}\n{self.errors}\nThe page says:\n{seen}")
            await deferLater(the_reactor(), 0.05)

    async def texts(self, selector: str) -> list[str]:
        """What the elements say that ``selector`` finds."""
        found: list[str] = await self.ask(f"Array.from(document.querySelectorAll({selector!r}), e => e.innerText)")
        return found

    async def click(self, selector: str) -> None:
        """Scroll to the first such element and press the mouse in its middle."""
        await self.show(selector)
        left, top, width, height = await self.box(selector)
        x, y = left + width / 2, top + height / 2
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def show(self, selector: str) -> None:
        """Scroll to the first such element, when there is one."""
        scroll = "(e.scrollIntoView({block: 'center', behavior: 'instant'}), true)"
        await self.until(f"(e => e && {scroll})(document.querySelector({selector!r}))")

    async def box(self, selector: str) -> tuple[float, float, float, float]:
        """Where the first such element is to be seen: left, top, width and height."""
        box = await self.ask(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        return box["x"], box["y"], box["width"], box["height"]

    async def press(self, key: str) -> None:
        """Press one of KEYS where the focus is."""
        code, text = KEYS[key]
        same = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **same)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **same)

    async def write(self, selector: str, text: str) -> None:
        """Type ``text`` into a field, in place of what stood there."""
        await self.ask(f"(() => {{ const e = document.querySelector({selector!r}); e.focus(); e.select(); }})()")
        await self.call("Input.insertText", text=text)

    async def resize(self, width: int, height: int) -> None:
        """Make the page so many pixels large; under 600 it is a telephone's."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    async def prefer(self, **features: str) -> None:
        """What the user prefers, by the features of CSS's media queries with _ for -."""
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=wanted)

    async def picture(self, path: Path, whole: bool = False) -> None:
        """Keep what is to be seen, or the whole page, as a PNG."""
        answer = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(b64decode(answer["data"]))

    def event(self, method: str, parameters: dict[str, Any]) -> None:
        """The browser tells what happened in this page."""
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(f"{details['text']} {details.get('exception', {}).get('description', '')}")
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(each.get("value")) for each in parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            entry = parameters["entry"]
            self.errors.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.addresses.append(parameters["request"]["url"])


def _message(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\0"
