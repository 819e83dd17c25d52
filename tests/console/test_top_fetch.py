"""Asking a dashboard: what else may be there, and that none of it costs more than some time and a sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.console.listening import HOST, Listening, Talkers, unused_port
from tests.console.terminal import Answers, a_state, answering
from tests.strict import the_reactor
from txmetrics.console import _fetch, main
from txmetrics.console._fetch import Dashboard
from txmetrics.console._seam import Trouble


@pytest.fixture
def answers() -> Iterator[Answers]:
    with answering(Answers(a_state())) as answers:
        yield answers


@pytest_twisted.async_yield_fixture
async def dashboard(answers: Answers) -> AsyncIterator[Dashboard]:
    dashboard = Dashboard(the_reactor(), the_reactor(), answers.url)
    yield dashboard
    await dashboard.close()


@pytest_twisted.ensureDeferred
async def test_a_state(dashboard: Dashboard, answers: Answers) -> None:
    """With the slash at the URL's end or without."""
    assert (await dashboard.state()).pid == 4711
    dashboard.url = f"{answers.url}metrics"
    await dashboard.state()
    assert answers.asked == ["/state", "/metrics/state"]


@pytest.mark.parametrize("status", [401, 403, 404, 500])
@pytest_twisted.ensureDeferred
async def test_another_status(dashboard: Dashboard, answers: Answers, status: int) -> None:
    """Is told."""
    answers.status = status
    with pytest.raises(Trouble, match=f"answers {status}; give the URL that the page of a dashboard is at"):
        await dashboard.state()


@pytest.mark.parametrize("raw", [b"", b"<html>", b"\xff", b"[" * 100_000, b"null", b"[]", b'{"big": 1, "routes": []}'])
@pytest_twisted.ensureDeferred
async def test_no_state(dashboard: Dashboard, answers: Answers, raw: bytes) -> None:
    """Whatever else it may be."""
    answers.raw = raw
    with pytest.raises(Trouble, match="no dashboard of txmetrics"):
        await dashboard.state()


@pytest_twisted.ensureDeferred
async def test_an_answer_without_end(dashboard: Dashboard, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is cut off."""
    monkeypatch.setattr(_fetch, "LARGEST", 100_000)
    answers.raw = b" " * 10_000_000
    with pytest.raises(Trouble, match=r"no dashboard answers at .*: its answer has more than 100,000 bytes"):
        await dashboard.state()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
@pytest_twisted.ensureDeferred
async def test_no_answer(listening: Listening, answer: bytes) -> None:
    """Neither one that never begins nor one that never ends is waited for; the connection is closed."""
    talkers = Talkers(answer)
    clock = Clock()
    dashboard = Dashboard(the_reactor(), clock, f"http://{HOST}:{await listening.serve(talkers)}/")
    asked = Deferred.fromCoroutine(dashboard.state())
    while not talkers.received:
        await _a_moment()
    await _a_moment()  # for the answer to come
    clock.advance(_fetch.SECONDS)
    with pytest.raises(Trouble, match=r"no dashboard answers at .*: no answer"):
        await asked
    while talkers.open:
        await _a_moment()


@pytest_twisted.ensureDeferred
async def test_nobody() -> None:
    """The reason is told in a word."""
    dashboard = Dashboard(the_reactor(), the_reactor(), f"http://{HOST}:{unused_port()}/")
    with pytest.raises(Trouble, match=r"no dashboard answers at .*: refused"):
        await dashboard.state()


@pytest.mark.parametrize("url", ["127.0.0.1:8002", "http://", "ftp://a/", "http://a b/", "http://user:secret@a/"])
def test_what_is_no_url(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, before anybody is asked."""
    with pytest.raises(SystemExit) as ended:
        main(["top", url])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (f"txmetrics: {url!r} is no URL of a dashboard such as http://127.0.0.1:8002/\n")


async def _a_moment() -> None:
    moment: Deferred[None] = Deferred()
    the_reactor().callLater(0.01, moment.callback, None)
    await moment
