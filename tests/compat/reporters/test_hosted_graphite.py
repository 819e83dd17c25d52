"""HostedGraphiteReporter and a sink over TLS, in both orders of its arguments."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.compat.reporters.reactors import Fake
from tests.delivery.certificates import Authority
from tests.delivery.network import until
from tests.sink import Sink, SinkServer, status
from tests.strict import Logged
from txmetrics.compat.pyformance import MetricsRegistry, global_registry
from txmetrics.compat.pyformance.reporters import HostedGraphiteReporter
from txmetrics.delivery import HOSTED_GRAPHITE_SINK

KEY = "3fb7a2d1-4c0e-9d5e-a1b2c3d4e5f6"
AUTHORIZATION = "Basic " + b64encode(f"{KEY}:".encode()).decode()


@pytest_twisted.async_yield_fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SinkServer]:
    """A sink that the reporter trusts."""
    authority = Authority(tmp_path / "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.directory / "ca.pem"))
    started = await SinkServer(Sink(), authority.server("127.0.0.1")).start()
    yield started
    await started.stop()


def registry() -> MetricsRegistry:
    made = MetricsRegistry()
    made.counter("hello_called").inc(3)
    made.gauge("unset")
    return made


@pytest.mark.parametrize("order", ["pyformance", "article", "named"])
@pytest_twisted.ensureDeferred
async def test_the_sink_gets_the_lines_and_the_key_and_nobody_else_does(
    server: SinkServer, logged: Logged, order: str
) -> None:
    """In the order of pyformance, of the article, or by name; without the NaN that would make it refuse all."""
    arguments: dict[str, Any] = {"registry": registry(), "reporting_interval": 3600}
    if order == "article":
        reporter = HostedGraphiteReporter(registry(), 3600, KEY, server.url)
    elif order == "pyformance":
        reporter = HostedGraphiteReporter(KEY, registry(), 3600, server.url)
    else:
        reporter = HostedGraphiteReporter(hosted_graphite_api_key=KEY, url=server.url, **arguments)
    assert reporter.start() is (order != "article")
    await reporter.stop()
    await until(lambda: server.sink.lines)
    (line,) = server.sink.lines
    assert line.startswith(b"hello_called.count 3 ")
    (request,) = server.sink.requests
    assert request.authorization == AUTHORIZATION
    assert KEY not in repr(vars(reporter)) + "".join(logged.texts())


@pytest_twisted.ensureDeferred
async def test_what_the_sink_does_not_take_is_posted_again_as_it_was(server: SinkServer, logged: Logged) -> None:
    """With its own timestamp; pyformance lost it."""
    server.sink.answers.append(status(503))
    reporter = HostedGraphiteReporter(KEY, registry(), 3600, server.url)
    reporter.start()
    await reporter.report_now(timestamp=17)
    await until(lambda: server.sink.lines)
    assert server.sink.lines == [b"hello_called.count 3 17"]
    assert [request.data for request in server.sink.requests] == [b"hello_called.count 3 17\n"] * 2
    await reporter.stop()


def test_the_articles_order_starts_it_as_soon_as_the_reactor_runs(fake: Fake) -> None:
    """As the article expects; pyformance's order waits to be started."""
    fake.install()
    started = HostedGraphiteReporter(MetricsRegistry(clock=fake), 10, KEY)
    waiting = HostedGraphiteReporter(KEY, MetricsRegistry(clock=fake), 10)
    assert (started.start(), len(fake.whenRunningHooks)) == (False, 1)
    assert waiting.url == started.url == HOSTED_GRAPHITE_SINK
    started.stop()
    assert HostedGraphiteReporter(KEY).registry is global_registry()


def test_a_traceback_does_not_show_the_key() -> None:
    """Whatever is wrong with the other arguments, no variable of a function has it."""
    for arguments in [(KEY, 17), (KEY, None, 0.1), (KEY, None, 10, "http://a"), (MetricsRegistry(), 0.1, KEY)]:
        with pytest.raises((ValueError, TypeError)) as refused:
            HostedGraphiteReporter(*arguments)
        shown = [repr(frame.frame.f_locals) for frame in refused.traceback[1:]]
        assert not [text for text in shown if KEY in text]
