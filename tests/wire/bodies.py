"""Reports as bodies of remote write, and what they tell."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from tests.prometheus import series
from tests.remote_write import Sent, read_body
from txmetrics import MetricsRegistry
from txmetrics.interfaces import Chunk
from txmetrics.snapshot import Reading
from txmetrics.wire import RemoteWrite

STAMP = 1_700_000_000
BEFORE = STAMP - 10
ME = {"job": "web", "instance": "a:1"}

Told = dict[str, float | str]


def read(chunks: Iterable[Chunk], stamp: int = STAMP) -> list[Sent]:
    """All samples of the chunks, of which each is right by itself."""
    sent = []
    for chunk in chunks:
        body = read_body(chunk.data)
        assert chunk.points == len(body) > 0
        assert chunk.timestamp == stamp
        sent += body
    return sent


def report(wire: RemoteWrite, readings: Iterable[Reading], stamp: int = STAMP) -> list[Sent]:
    """The samples of one report, of which none is refused."""
    encoder = wire.encoder(stamp)
    chunks = [encoder.add(reading) for reading in readings]
    chunks.append(encoder.finish())
    assert encoder.refused == {}
    return read((chunk for chunk in chunks if chunk is not None), stamp)


def now(sent: list[Sent], stamp: int = STAMP) -> Told:
    """What is told of the report's own time; no series twice."""
    told = [(one.series, one.value) for one in sent if one.milliseconds == stamp * 1000]
    assert len(told) == len(dict(told))
    return dict(told)


def at(sent: list[Sent], milliseconds: int) -> Told:
    """What is told of that time."""
    return {one.series: one.value for one in sent if one.milliseconds == milliseconds}


def named(name: str, **labels: str) -> str:
    """A series with everybody's labels."""
    return series(name, {**ME, **labels}.items())


def a_registry() -> MetricsRegistry:
    registry = MetricsRegistry()
    registry.counter("http.status.2xx").inc(3)
    registry.counter("http.status.5xx").inc(2**60)
    registry.gauge("queue.length").set(-2.5)
    registry.counter("jobs", queue="mail").inc()
    registry.counter("jobs", queue="a.b/c").inc()
    registry.timer("job", queue="mail").add(0.3)
    registry.gauge("endless").set(inf)
    registry.meter("mails").mark(70_000)
    for seconds in (0.0, 0.003, 0.0031, 0.2, 1.0, 17.0):
        registry.timer("http.routes.GET-a.requests").add(seconds)
    registry.histogram("mail.bytes")
    registry.histogram("degrees").take_in([-5.0, -1.0, -1.0, 0.5])
    return registry
