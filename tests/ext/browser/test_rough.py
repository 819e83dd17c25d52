"""The dashboard's page where something is amiss: lost connections, missing parts, hostile texts, small screens."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from tests.ext.browser.chromium import Chromium, Page
from tests.ext.browser.conftest import Server
from tests.ext.browser.hostile import FORGED, TEXTS, seen
from tests.ext.browser.test_page import TOTAL, live, total
from tests.strict import the_reactor

STATUS = "document.getElementById('status').dataset.state"


def forgive(page: Page, *parts: str) -> None:
    """The errors that have one of ``parts`` in them were expected, and there was one at the least."""
    expected = [error for error in page.errors if any(part in error for part in parts)]
    assert expected
    page.errors = [error for error in page.errors if error not in expected]


@pytest_twisted.ensureDeferred
async def test_without_events_it_asks_every_two_seconds(page: Page, server: Server) -> None:
    """It says so, and the numbers still move."""
    await page.open(server.address("no-events"))
    await page.until(f"{STATUS} === 'polling'")
    before = await total(page)
    server.ask("/fast", 3)
    await page.until(f"Number(document.querySelector('{TOTAL}').innerText.replace(',', '')) >= {before + 3}")
    assert await page.texts("#status-words") == ["live, asked for every 2 seconds"]
    forgive(page, "503")


@pytest_twisted.ensureDeferred
async def test_a_lost_connection_is_told_and_taken_up_again(page: Page, server: Server) -> None:
    """What was last known stays on the page meanwhile."""
    await live(page, server.address("fragile"))
    server.ask("/switch")
    await page.until(f"{STATUS} === 'lost'")
    assert await page.texts("#status-words") == ["connection lost, trying again"]
    assert await total(page) >= 15
    server.ask("/switch")
    await page.until(f"{STATUS} === 'live'")
    forgive(page, "503", "ERR_CONNECTION", "ERR_INCOMPLETE")


HIDE = """
Object.defineProperty(document, 'hidden', {get: () => true, configurable: true});
document.dispatchEvent(new Event('visibilitychange'));
"""


@pytest.mark.parametrize("stop", ["document.getElementById('pause').click()", HIDE], ids=["paused", "hidden"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_fetched_while_it_is(page: Page, server: Server, stop: str) -> None:
    """Neither numbers nor plots, for somebody who does not look; afterwards all is as before."""
    await live(page, server.address())
    await page.ask(stop)
    before = len(page.addresses)
    await deferLater(the_reactor(), 1.5)
    assert page.addresses[before:] == []
    if "click" in stop:
        assert await page.texts("#status-words") == ["paused"]
        await page.click("#pause")
    else:
        await page.ask("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    await page.until(f"{STATUS} === 'live'")
    assert len(page.addresses) > before


@pytest_twisted.ensureDeferred
async def test_without_plotly_it_says_what_to_install(page: Page, server: Server) -> None:
    """The tables that belong to the plots are there all the same."""
    await live(page, server.address("no-plotly"))
    await page.show("#add")
    await page.until("!document.getElementById('plots-missing').hidden")
    assert "pip install 'txmetrics[dashboard]'" in (await page.texts("#plots-missing"))[0]
    await page.until("document.querySelector('.plot .legend td').innerText.endsWith('/s')")
    assert await page.ask("Array.from(document.querySelectorAll('.graph')).some(e => e.checkVisibility())") is False
    forgive(page, "503")


@pytest_twisted.ensureDeferred
async def test_what_is_not_there_is_a_sentence(page: Page, server: Server) -> None:
    """Of a dashboard whose registry is empty and that nobody told anything."""
    await page.open(server.address("bare"))
    await page.until(f"{STATUS} === 'live'")
    sentences = await page.texts(".empty:not([hidden])")
    assert [sentence.split()[0] for sentence in sentences] == ["Nothing", "No", "Nobody", "Nobody", "This", "Nothing"]
    assert "Dashboard(registry, slowest=timed.slowest)" in sentences[2]
    assert await page.texts("#routes-empty") == ["No request has come yet."]


@pytest_twisted.ensureDeferred
async def test_hostile_texts_are_shown_as_texts(page: Page, server: Server) -> None:
    """Of paths, of names and in stacks; the page's fixture sees to it that nothing of them has run."""
    await live(page, server.address("hostile"))
    await page.until("document.querySelector('#slowest tbody') && document.querySelector('#blocked tbody')")
    paths = [" ".join(text.split()) for text in await page.texts("#slowest tbody .path")]
    assert paths == [seen(f"/{text}") for text in TEXTS]
    names = [" ".join(text.split()) for text in await page.texts("#blocked summary")]
    assert names == [seen(text) for text in TEXTS]
    await page.click("#blocked summary")
    await page.until("document.querySelector('#blocked details[open]')")
    assert await page.texts("#blocked details[open] pre") == [f"in {TEXTS[0]}"]


@pytest_twisted.ensureDeferred
async def test_hostile_addresses_run_nothing_either(page: Page, server: Server) -> None:
    """The fragment goes into titles, plots and the search, which is what others can send one."""
    hostile, other = quote("<img src=x onerror=window.pwned=8>.p50"), quote("javascript:window.pwned=9//<b>x</b>")
    fragment = f"#plot={hostile};{other},http.requests.rate;{hostile}&range={other}&sort={other}&search=%ff%zz{hostile}"
    await page.open(server.address(fragment=fragment))
    await page.until(f"{STATUS} === 'live'")
    await page.show("#add")
    await page.until("document.querySelectorAll('.js-plotly-plot').length === 1")
    assert "<img src=x onerror=window.pwned=8>: p50" in (await page.texts(".plot h3"))[0]
    assert await page.texts(".plot .empty:not([hidden])") == ["No series of this name is kept."]


@pytest_twisted.ensureDeferred
async def test_plotly_takes_names_for_names(page: Page, server: Server) -> None:
    """It would make a link or bold letters of some, which would be against the page's policy, too."""
    await page.open(server.address("forged"))
    await page.until("document.querySelectorAll('#add-names option').length === 2")
    fragment = "#plot=" + ";".join(map(quote, FORGED))
    await page.ask(f"location.hash = {fragment!r}")
    await page.show("#add")
    await page.until("document.querySelector('.js-plotly-plot .lines path')")
    x, y, width, height = await page.box(".nsewdrag")
    await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + width / 2, y=y + height / 2)
    hovered = "document.querySelector('.hoverlayer').textContent"
    await page.until(f"{hovered} && {hovered}.includes('<b>bold</b>')")
    assert "<a href='javascript:pwned=10'>click</a>" in await page.ask(hovered)
    assert await page.ask("document.querySelectorAll('#plots a').length") == 0


WIDE = "document.documentElement.scrollWidth <= innerWidth"
DIM = """(() => {
    const parse = (text) => text.match(/[0-9.]+/g).map(Number);
    const part = (c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const lum = (rgb) => rgb.slice(0, 3).map(c => part(c / 255))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (e) => { for (; e; e = e.parentElement) {
        const c = parse(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; } return [255, 255, 255]; };
    const own = (e) => Array.from(e.childNodes).some(n => n.nodeType === 3 && n.data.trim());
    return Array.from(document.querySelectorAll('body *'))
        .filter(e => own(e) && e.checkVisibility() && !e.closest('svg'))
        .map(e => [e, lum(parse(getComputedStyle(e).color)), lum(ground(e))])
        .map(([e, a, b]) => [e.outerHTML.slice(0, 80), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)])
        .filter(([, contrast]) => contrast < 4.5);
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest_twisted.ensureDeferred
async def test_light_or_dark_wide_or_narrow(page: Page, server: Server, scheme: str) -> None:
    """Nothing is wider than a telephone, and all text stands out from its ground as WCAG's AA has it."""
    await page.prefer(prefers_color_scheme=scheme)
    await page.resize(360, 740)
    await live(page, server.address())
    await page.show("#add")
    await page.until("document.querySelector('.js-plotly-plot .xtick text')")
    assert await page.ask(WIDE)
    assert await page.ask(DIM) == []
    ink = await page.ask("getComputedStyle(document.querySelector('.xtick text')).fill")
    assert (ink == "rgb(156, 165, 180)") == (scheme == "dark")
    other = {"light": "dark", "dark": "light"}[scheme]
    await page.prefer(prefers_color_scheme=other)
    await page.until(f"getComputedStyle(document.querySelector('.xtick text')).fill !== {ink!r}")


STOP = """(e => e === document.body ? null : [e.id || e.innerText, getComputedStyle(e).outlineStyle])(
    document.activeElement)"""


@pytest_twisted.ensureDeferred
async def test_the_keyboard_reaches_everything(page: Page, server: Server) -> None:
    """The first stop skips the head, each stop can be seen, and after the last one the page is left."""
    await live(page, server.address())
    await page.until("document.querySelectorAll('.plot').length === 3")
    await page.press("Tab")
    assert await page.ask("document.activeElement.className") == "skip"
    stops = []
    for _ in range(80):
        await page.press("Tab")
        stop = await page.ask(STOP)
        if stop is None:
            break
        stops.append(stop)
    names = [name for name, _ in stops]
    assert {"pause", "routes-search", "GET-slow", "Rate", "add-name", "24 h", "Remove"} <= set(names)
    assert {outline for _, outline in stops} == {"solid"}
    assert len(stops) < 80


@pytest_twisted.ensureDeferred
async def test_who_wants_no_motion_gets_none(browser: Chromium, server: Server) -> None:
    """The sign that it is live stands still."""
    page = await browser.page(prefers_reduced_motion="reduce")
    try:
        await live(page, server.address())
        assert await page.ask("document.getAnimations().length") == 0
    finally:
        await page.close()
