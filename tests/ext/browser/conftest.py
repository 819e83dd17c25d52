"""One browser and one server with its dashboard for all tests of the page, and what has to be true after each."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred

from tests.ext.browser.chromium import Chromium, Page
from tests.processes import ROOT, Child, get

CHILD = [sys.executable, "-m", "tests.ext.browser.dashboard_child"]


class Server(NamedTuple):
    """Where the child listens."""

    application: int
    dashboard: int

    def ask(self, path: str, times: int = 1) -> None:
        """Send so many requests to the application."""
        get(self.application, path, times)

    def address(self, name: str = "dash", fragment: str = "") -> str:
        """Of one of its dashboards."""
        return f"http://127.0.0.1:{self.dashboard}/{name}/{fragment}"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The child, after some requests of each kind."""
    with Child(*CHILD, cwd=tmp_path_factory.mktemp("dashboard"), PYTHONPATH=str(ROOT)) as child:
        found = child.says(r"application (\d+), dashboard (\d+)")
        server = Server(int(found[1]), int(found[2]))
        for path, times in {"/fast": 9, "/slow": 4, "/broken": 2}.items():
            server.ask(path, times)
        yield server


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    pytest_twisted.blockon(ensureDeferred(browser.start()))
    yield browser
    pytest_twisted.blockon(ensureDeferred(browser.stop()))


@pytest_twisted.async_yield_fixture
async def page(browser: Chromium, server: Server) -> AsyncIterator[Page]:
    """A page that ran no foreign script, broke no rule of its policy, had no error and asked nobody else."""
    # Or a click could go to where something stood before the page had scrolled to what the click before it showed.
    page = await browser.page(prefers_reduced_motion="reduce")
    yield page
    answers: list[Any] = [await page.ask("violations"), await page.ask("window.pwned ?? null"), page.errors]
    await page.close()
    assert answers == [[], None, []]
    assert {
        address for address in page.addresses if not address.startswith(("data:", server.address("")[:-1]))
    } == set()
