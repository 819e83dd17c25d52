"""How it is answered: the methods, the headers, the addresses, and what goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.web.resource import Resource

from tests.ext.dashboard.stand import BEGIN, ELSEWHERE, NAMES, Stand
from tests.strict import Logged
from txmetrics import MetricsRegistry
from txmetrics.ext.dashboard import Dashboard, _assets
from txmetrics.testing import FakeReactor

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"])
def test_there_is_nothing_to_change(stand: Stand, method: str) -> None:
    """Two methods are answered, others get 405, wherever they go."""
    for name in (*NAMES, "nothing"):
        answer = stand.ask(f"/{name}", method=method)
        assert (answer.code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("name", [*NAMES, "history?range=5m"])
def test_a_head_has_the_headers_of_a_get(stand: Stand, name: str) -> None:
    """And no body; a stream of events ends at once."""
    gzip = "Accept-Encoding: gzip"
    head = stand.ask(f"/{name}", gzip, method="HEAD")
    assert (head.code, head.body) == (200, b"")
    if name != "events":
        get = stand.ask(f"/{name}", gzip)
        assert int(head.headers["content-length"]) == len(get.body) > 1
        assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


def test_the_headers_are_on_every_answer(stand: Stand) -> None:
    """Refusals and errors too."""
    answers = [stand.ask(f"/{name}", method="HEAD") for name in (*NAMES, "nothing", "history", "history?range=5m")]
    answers += [
        stand.ask("/state", host="evil.example"),
        stand.ask("/state", peer=ELSEWHERE),
        stand.ask("/state", method="POST"),
        Stand().ask("/state"),
    ]
    assert {answer.code for answer in answers} == {200, 400, 403, 404, 405, 503}
    for answer in answers:
        headers = answer.headers
        assert headers["content-security-policy"] == CSP
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == ("no-cache" if "etag" in headers else "no-store")


def test_an_address_without_a_slash_is_corrected() -> None:
    """Relative to where it is, whatever that is called, so that the page's own links are right."""
    root, below = Resource(), Resource()
    stand = Stand(root)
    root.putChild(b"my:dash", stand.dashboard)
    root.putChild(b"a", below)
    below.putChild(b"b", stand.dashboard)
    stand.run()
    for path, location in (("/my:dash", "./my:dash/"), ("/a/b", "./b/"), ("/a/b?x=1", "./b/")):
        answer = stand.ask(path)
        assert (answer.code, answer.headers["location"]) == (302, location)
    assert stand.ask("/a/b/").body == stand.ask("/my:dash/index.html").body
    assert stand.ask("/a/b/state").code == 200
    stand.close()


@pytest.mark.parametrize(
    "path",
    ["nothing", "state/", "/", "/state", "../state", "..", "%2e%2e%2fstate", "page/index.html", "__init__.py", "%00"],
)
def test_there_is_nothing_else(stand: Stand, path: str) -> None:
    """No file but those of the page, by their names alone."""
    answer = stand.ask(f"/{path}")
    assert (answer.code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")


def test_the_page_s_own_files_are_served(stand: Stand) -> None:
    """Each by its name and with its type, the index for the directory too."""
    folder = Path(_assets.__file__).parent / "page"
    files = [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    assert {"index.html", "dashboard.js", "dashboard.css"} <= {file.name for file in files}
    for file in files:
        answer = stand.ask(f"/{file.name}")
        assert (answer.code, answer.body) == (200, file.read_bytes())
        assert answer.headers["content-type"] == _assets.TYPES[file.suffix]
    assert stand.ask("/").body == (folder / "index.html").read_bytes()


def test_before_it_runs_and_after_its_end_it_has_no_numbers() -> None:
    """But a page, and a sentence."""
    stand = Stand()
    _check_not_running(stand)
    stand.run()
    assert stand.ask("/state").code == 200
    stand.close()
    _check_not_running(stand)


def _check_not_running(stand: Stand) -> None:
    assert stand.ask("/").code == 200
    for name in ("state", "events", "metrics", "series", "history?range=5m", "plotly.min.js"):
        answer = stand.ask(f"/{name}")
        assert (answer.code, answer.body) == (503, b"The dashboard has no numbers; it is not running.\n"), name


def test_it_can_begin_anew() -> None:
    """With nothing of what it had."""
    stand = Stand()
    stand.registry.counter("c")
    stand.run()
    stand.seconds(3)
    stand.close()
    stand.dashboard.start()
    stand.turns()
    assert stand.ask("/history?range=5m&name=c.rate").json["times"] == []
    stand.seconds()
    assert stand.ask("/history?range=5m&name=c.rate").json["times"] == [BEGIN + 4]
    stand.close()


def test_an_error_is_one_sentence_and_one_entry_in_the_log(logged: Logged) -> None:
    """What failed is for the log, and not for whoever asks."""
    stand = Stand().run()
    stand.registry.__class__ = _Broken
    for _ in range(3):
        answer = stand.ask("/metrics")
        assert answer.code == 500
        assert answer.body == b"The dashboard failed to answer; its server's log says why.\n"
        assert answer.headers["content-security-policy"] == CSP
    assert len(logged.flush(ZeroDivisionError)) == 1
    stand.registry.__class__ = MetricsRegistry
    assert stand.ask("/metrics").code == 200
    stand.close()


class _Broken(MetricsRegistry):
    def __iter__(self) -> Any:
        raise ZeroDivisionError("secret")


def test_who_leaves_while_an_answer_is_made_is_forgotten() -> None:
    """No step more is taken for it, and the next one is answered."""
    stand = Stand().run()
    assert stand.dashboard._live is not None
    under_way = stand.dashboard._live.work._tasks
    for name in ("history?range=5m&name=a", "state", "metrics"):
        connection = stand.connect()
        connection.send(f"/{name}")
        assert len(under_way) == 1
        connection.lose()
        assert len(under_way) == (name == "state"), "others may wait for the state, too"
        stand.turns()
        assert connection.received == b""
    assert stand.ask("/state").code == 200
    stand.close()


def test_whoever_waits_at_the_end_is_told() -> None:
    """Answers that are under way are not left open."""
    stand = Stand().run()
    connections = [stand.connect() for _ in range(4)]
    for connection, name in zip(connections, ("metrics", "series", "state", "history?range=5m"), strict=True):
        connection.send(f"/{name}", "Connection: close")
    stand.close()
    assert all(b"503 Service Unavailable" in connection.received for connection in connections)


def test_more_than_fifty_answers_at_a_time_are_refused() -> None:
    """For a moment: when they are done, the next one is answered."""
    stand = Stand().run()
    connections = [stand.connect() for _ in range(60)]
    for connection in connections:
        connection.send("/metrics", "Connection: close")
    stand.turns()
    codes = [connection.received.split(b" ")[1] for connection in connections]
    assert (codes.count(b"200"), codes.count(b"503")) == (50, 10)
    assert stand.ask("/metrics").code == 200
    stand.close()


def test_nothing_is_taken_when_it_is_made() -> None:
    """A Dashboard that is made before a fork knows no process, no time, and has begun nothing."""
    stand = Stand()
    assert stand.reactor.getDelayedCalls() == []
    stand.run()
    stand.dashboard.start()
    assert len(stand.reactor.getDelayedCalls()) == 1
    stand.close()
    stand.close()


def test_at_least_one_series_is_to_be_kept() -> None:
    """Less is a mistake."""
    with pytest.raises(ValueError, match="max_series is 0"):
        Dashboard(MetricsRegistry(), max_series=0, reactor=FakeReactor())
