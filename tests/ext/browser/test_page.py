"""The dashboard's page in a real Chromium: it fills, moves, sorts, searches and plots."""

from __future__ import annotations

import pytest_twisted

from tests.ext.browser.chromium import Page
from tests.ext.browser.conftest import Server

TOTAL = "[data-key=total] .number"
ROUTES = "#routes tbody th"
DRAWN = (
    "Array.from(document.querySelectorAll('.plot'))"
    ".filter(e => e.querySelector('.js-plotly-plot :is(.lines, .points) path'))"
    ".map(e => e.querySelector('h3').innerText)"
)


async def live(page: Page, address: str) -> None:
    """Open the page, and wait until it has the routes and is live."""
    await page.open(address)
    await page.until("document.querySelectorAll('#routes tbody tr').length >= 3")
    await page.until("document.getElementById('status').innerText.includes('live')")


async def total(page: Page) -> int:
    [text] = await page.texts(TOTAL)
    return int(text.replace(",", ""))


@pytest_twisted.ensureDeferred
async def test_it_is_filled_when_it_is_opened(page: Page, server: Server) -> None:
    """Numbers, routes, slow requests and the reporter's state, each of what has really happened."""
    await live(page, server.address())
    await page.until("document.querySelector('#reporters tbody')")
    assert set(await page.texts(ROUTES)) >= {"GET-fast", "GET-slow", "GET-broken"}
    cards = await page.ask("Array.from(document.querySelectorAll('#big li'), e => e.dataset.key)")
    assert cards == ["requests", "errors", "p50", "p99", "active", "busy", "total"]
    assert await total(page) >= 15
    assert "/slow" in (await page.texts("#slowest .path"))
    [reporter] = await page.texts("#reporters tbody tr")
    assert "tcp:127.0.0.1:" in reporter
    assert "● good" in reporter
    assert "connected" in reporter
    await page.until("document.querySelector('[data-key=requests] .line').getAttribute('d')")


@pytest_twisted.ensureDeferred
async def test_it_moves(page: Page, server: Server) -> None:
    """What is asked of the application while one looks is counted before one's eyes."""
    await live(page, server.address())
    before = await total(page)
    server.ask("/fast", 7)
    await page.until(f"Number(document.querySelector('{TOTAL}').innerText.replace(',', '')) >= {before + 7}")


@pytest_twisted.ensureDeferred
async def test_routes_are_sorted_by_mouse_and_keyboard(page: Page, server: Server) -> None:
    """The heads of columns are buttons, which say how the rows stand, and the focus stays on them."""
    await live(page, server.address())
    head = "#routes thead th:nth-child(3)"
    await page.click(f"{head} button")
    assert await page.ask(f"document.querySelector('{head}').ariaSort") == "descending"
    counts = "Array.from(document.querySelectorAll('#routes tbody td:nth-child(3)'), e => Number(e.innerText))"
    numbers = await page.ask(counts)
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) > 1
    await page.press("Enter")
    assert await page.ask(f"document.querySelector('{head}').ariaSort") == "ascending"
    assert await page.ask(counts) == sorted(numbers)
    await page.ask("document.querySelector('#routes thead button').focus()")
    await page.press(" ")
    names = await page.texts(ROUTES)
    assert names == sorted(names)
    assert await page.ask("location.hash") == "#sort=route"
    assert await page.ask("document.activeElement.innerText") == "Route"
    await page.ask("document.querySelector('#routes tbody tr:last-child button').focus()")
    await page.ask("location.hash = '#sort=-route'")
    await page.until("document.querySelector('#routes th').ariaSort === 'descending'")
    assert await page.texts(ROUTES) == names[::-1]
    assert await page.ask("document.activeElement.innerText") == names[-1]


@pytest_twisted.ensureDeferred
async def test_the_search_leaves_what_has_the_text(page: Page, server: Server) -> None:
    """Or says that nothing has; the address keeps it."""
    await live(page, server.address())
    await page.write("#routes-search", "SLO")
    assert await page.texts(ROUTES) == ["GET-slow"]
    assert await page.ask("location.hash") == "#search=SLO"
    await page.write("#routes-search", "<b>no")
    assert await page.texts("#routes-empty") == ["No route has “<b>no” in its name."]


@pytest_twisted.ensureDeferred
async def test_any_series_is_plotted_on_request_and_removed(page: Page, server: Server) -> None:
    """By its name, typed; drawn from what the server has kept of it, with the same in a table."""
    await live(page, server.address())
    await page.until("document.querySelector('#add-names option')")
    await page.write("#add-name", "jobs.done")
    await page.press("Enter")
    plot = "document.querySelector('.plot')"
    await page.until(f"{plot}.querySelector('.js-plotly-plot')?.data[0].y.some(value => value === 0)")
    assert (await page.texts(".plot h3"))[0] == "jobs.done.rate"
    await page.until(f"{plot}.querySelector('.legend td').innerText === '0/s'")
    assert "jobs.done.rate" in await page.ask("location.hash")
    await page.click(".plot button")
    assert "jobs.done.rate" not in await page.ask("location.hash")
    assert "jobs.done.rate" not in await page.texts(".plot h3")


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_nowhere_is_told_so(page: Page, server: Server) -> None:
    """And one that could be several."""
    await live(page, server.address())
    await page.until("document.querySelector('#add-names option')")
    await page.write("#add-name", "<i>nothing")
    await page.press("Enter")
    assert await page.texts("#add-answer") == ["Nothing of this name is measured."]
    await page.write("#add-name", "http.requests.p")
    await page.press("Enter")
    assert await page.texts("#add-answer") == ["3 names have this in them: choose one."]


@pytest_twisted.ensureDeferred
async def test_a_click_on_a_number_or_a_route_plots_it(page: Page, server: Server) -> None:
    """A number that is plotted already is only gone to; a route shows its percentiles."""
    await live(page, server.address())
    await page.until("document.querySelectorAll('.plot').length === 3")
    await page.click("[data-key=p99] button")
    assert await page.ask("document.activeElement.querySelector('h3').innerText") == "http.requests: p50, p95, p99"
    await page.write("#routes-search", "slow")
    await page.click("#routes tbody button")
    assert (await page.texts(".plot h3"))[0] == "http.routes.GET-slow.requests: p50, p95, p99"
    await page.until("document.querySelectorAll('.plot').length === 4")
    await page.until(f"({DRAWN}).includes('http.routes.GET-slow.requests: p50, p95, p99')")


@pytest_twisted.ensureDeferred
async def test_the_address_restores_what_was_shown(page: Page, server: Server) -> None:
    """Range, plots, sorting and search; and it may be changed by hand."""
    shown = "#range=1h&plot=reactor.busy,http.requests.p50;http.requests.max&sort=-count&search=low"
    await live_filtered(page, server.address(fragment=shown))
    assert await page.texts(".plot h3") == ["reactor.busy", "http.requests: p50, max"]
    assert await page.texts("#ranges [aria-pressed=true]") == ["1 h"]
    assert await page.texts("#routes th[aria-sort=descending]") == ["Requests"]
    assert await page.ask("document.getElementById('routes-search').value") == "low"
    assert await page.texts(ROUTES) == ["GET-slow"]
    await page.ask("location.hash = '#range=24h&plot=reactor.lag.p99'")
    await page.until("document.querySelector('#ranges [aria-pressed=true]').innerText === '24 h'")
    assert await page.texts(".plot h3") == ["reactor.lag.p99"]
    assert len(await page.texts(ROUTES)) >= 3


async def live_filtered(page: Page, address: str) -> None:
    await page.open(address)
    await page.until("document.querySelectorAll('#routes tbody tr').length === 1")


@pytest_twisted.ensureDeferred
async def test_a_zoom_is_that_of_all_plots(page: Page, server: Server) -> None:
    """What is dragged over in one is shown by the others, until it is reset."""
    await page.resize(1280, 1400)
    await live(page, server.address(fragment="#plot=http.requests.rate,reactor.busy"))
    await page.show("#add")
    await page.until("document.querySelectorAll('.js-plotly-plot').length === 2")
    range_of = "Array.from(document.querySelectorAll('.js-plotly-plot'), e => e.layout.xaxis.range.map(String))"
    x, y, width, height = await page.box(".nsewdrag")
    x, y = x + width * 0.3, y + height * 0.5
    for kind, at in (("mousePressed", x), ("mouseMoved", x + 90), ("mouseMoved", x + 200), ("mouseReleased", x + 200)):
        await page.call("Input.dispatchMouseEvent", type=kind, x=at, y=y, button="left", buttons=1, clickCount=1)
    await page.until("!document.getElementById('unzoom').hidden")
    await page.until(f"(([one, other]) => String(one) === String(other))({range_of})")
    await page.click("#unzoom")
    await page.until("document.getElementById('unzoom').hidden")
