"""OTLP: requests of metrics, each whole, as opentelemetry-proto has them.

A metric keeps its name with the dots, and each tag is an attribute. So are the parts of a name that are labels for
Prometheus: ``http.routes.GET-users.requests`` is ``http.routes.requests`` with the attribute ``route``.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias
from zlib import compressobj

from zope.interface import implementer

from txmetrics import names
from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import CounterReading, GaugeReading, HistogramReading, MeterReading, Reading, TimerReading
from txmetrics.wire._otlp_points import attributes, fixed, histogram, plain
from txmetrics.wire._prometheus_names import place, unit_of
from txmetrics.wire._prometheus_samples import value
from txmetrics.wire._protobuf import integer, part, varint

__all__ = ["OTLP"]

FULL = 30_000
"""A request of so many bytes, before it is compressed, is full."""

EVERY, LOOKS = 10, 20
"""After so many readings, so many metrics are looked after, whether they still exist: all, in about one report."""

SECOND = 1_000_000_000
"""In nanoseconds."""

LEAST = SECOND // 2
"""What a value tells of is at least so long."""

Stream: TypeAlias = tuple[str, bytes, bytes]
"""What the points of a metric have in common: its kind, its head, their attributes. Of many there are only these."""


@dataclass(frozen=True, eq=False)
class _Shape:
    """What a metric is to OTLP."""

    tag: bytes
    """Before its points in a metric."""
    attributes: int
    """The field of a point."""
    tail: bytes
    """Behind the points: that values are since the start, and that a sum never falls."""


_CUMULATIVE = integer(2, 2)
_SUM = _Shape(varint(7 << 3 | 2), 7, _CUMULATIVE + integer(3, 1))
_GAUGE = _Shape(varint(5 << 3 | 2), 7, b"")
_HISTOGRAM = _Shape(varint(10 << 3 | 2), 1, _CUMULATIVE)

_KINDS: Mapping[type, str] = {
    CounterReading: "counter",
    MeterReading: "meter",
    GaugeReading: "gauge",
    HistogramReading: "histogram",
    TimerReading: "timer",
}
_SHAPES = {"counter": _SUM, "meter": _SUM, "gauge": _GAUGE, "histogram": _HISTOGRAM, "timer": _HISTOGRAM}

_UNITS = {"seconds": "s", "bytes": "By", "ratio": "1"}
"""As UCUM has them, which OTLP demands."""


@implementer(IWire)
class OTLP:
    """Requests of the type ExportMetricsServiceRequest; a chunk is one, with gzip.

    Counters and meters are sums that never fall, gauges are gauges, histograms and timers are exponential histograms
    of scale 3, in seconds; rates and percentiles are left to whoever asks. Everything is told since ``since``, in
    seconds since the epoch, at which it was nothing; the readings must be of whole lives, not of intervals.
    ``resource`` are the attributes of who reports, ``version`` that of the scope, which is called txmetrics. ``exists``
    says whether a metric is still there.
    """

    def __init__(
        self,
        resource: Mapping[str, str],
        *,
        since: float,
        version: str = "",
        exists: Callable[[str], bool] = lambda name: True,
    ) -> None:
        scope = part(1, b"txmetrics") + (part(2, version.encode()) if version else b"")
        self._resource = part(1, attributes(1, resource.items()))
        self._scope = part(1, scope)
        self._since = max(0, int(since * SECOND))
        self._streams = _Streams(exists)

    def encoder(self, timestamp: int) -> IEncoder:
        """A fresh encoder for a report of the second ``timestamp``; the one before is not used any more."""
        self._streams.look_again()
        return _Requests(self._resource, self._scope, self._streams, self._since, int(timestamp))


class _Streams:
    """Those of the metrics that were told and are still there, by the metrics' names."""

    def __init__(self, exists: Callable[[str], bool]) -> None:
        self._exists = exists
        self._streams: dict[str, Stream] = {}
        self._owners: dict[tuple[bytes, bytes], str] = {}
        self._unseen: list[str] = []

    def of(self, name: object, kind: str) -> Stream | None:
        """None if that cannot be a name."""
        if type(name) is not str:
            return None
        stream = self._streams.get(name)
        return stream if stream is not None and stream[0] == kind else self._meet(name, kind)

    def look_again(self) -> None:
        """If all have been looked at, begin anew."""
        if not self._unseen:
            self._unseen = [*self._streams]

    def look(self) -> None:
        """Forget those of the next LOOKS that are no more."""
        for name in self._unseen[-LOOKS:]:
            if not self._exists(name):
                self._forget(name)
        del self._unseen[-LOOKS:]

    def _meet(self, name: str, kind: str) -> Stream | None:
        if not _is_name(name):
            return None
        self._forget(name)
        stream = _stream(name, kind)
        if self._owners.setdefault(stream[1:], name) != name:  # a tag says what a part of another name does
            stream = _stream(name, kind, [("name", name)])
        self._streams[name] = stream
        return stream

    def _forget(self, name: str) -> None:
        stream = self._streams.pop(name, None)
        if stream is not None and self._owners.get(stream[1:]) == name:
            del self._owners[stream[1:]]


def _is_name(name: str) -> bool:
    try:
        return names.full(name) == name
    except ValueError:
        return False


def _stream(name: str, kind: str, more: Iterable[tuple[str, str]] = ()) -> Stream:
    stem, labels, pattern = place(name)
    path = ".".join(part for part in pattern.split(".") if part != "*")
    unit = "s" if kind == "timer" else _UNITS.get(unit_of(stem), "")
    head = part(1, path.encode()) + (part(3, unit.encode()) if unit else b"")
    return kind, head, attributes(_SHAPES[kind].attributes, [*labels, *more])


@implementer(IEncoder)
class _Requests:
    """One report as requests. ``refused`` counts readings."""

    def __init__(self, resource: bytes, scope: bytes, streams: _Streams, since: int, timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self._resource = resource
        self._scope = scope
        self._streams = streams
        self._timestamp = timestamp
        self._readings = 0
        now = max(0, timestamp * SECOND)
        self._now = fixed(3, now)
        self._lasting = fixed(2, max(0, min(since, now - LEAST))) + self._now
        self._clear()

    def add(self, reading: Reading) -> Chunk | None:
        self._readings += 1
        if self._readings % EVERY == 0:
            self._streams.look()
        kind = _KINDS.get(type(reading))
        if kind is None:
            self.refused["unreadable"] += 1
            return None
        said = self._said(reading)
        if said is None:
            self.refused["value"] += 1
            return None
        stream = self._streams.of(reading.name, kind)
        if stream is None:
            self.refused["name"] += 1
            return None
        return self._put(stream, said)

    def finish(self) -> Chunk | None:
        if not self._points:
            return None
        metrics = [_metric(shape, head, points) for (shape, head), points in self._groups.items()]
        request = part(1, self._resource + part(2, self._scope + b"".join(metrics)))
        chunk = Chunk(_gzip(request), self._points, self._timestamp)
        self._clear()
        return chunk

    def _said(self, reading: Reading) -> bytes | None:
        """The value and its times, None if there is none that can be told."""
        if isinstance(reading, HistogramReading | TimerReading):
            try:
                spread = histogram(reading)
            except Exception:  # whatever the parts of somebody else's distribution may raise
                return None
            return None if spread is None else self._lasting + spread
        one = value(reading)
        if one is None:
            return None
        if isinstance(reading, GaugeReading):
            return self._now + plain(one, whole=False)
        return self._lasting + plain(one, whole=True)

    def _put(self, stream: Stream, said: bytes) -> Chunk | None:
        kind, head, about = stream
        shape = _SHAPES[kind]
        points = self._groups.get((shape, head))
        if points is None:
            points = self._groups[shape, head] = []
            self._size += len(head) + 16
        point = part(1, about + said)
        points.append(point)
        self._size += len(point)
        self._points += 1
        return self.finish() if self._size >= FULL else None

    def _clear(self) -> None:
        self._groups: dict[tuple[_Shape, bytes], list[bytes]] = {}
        self._size = self._points = 0


def _metric(shape: _Shape, head: bytes, points: list[bytes]) -> bytes:
    """A metric, as a part of a scope's. There are some hundred in a request, all made at once."""
    data = b"".join(points) + shape.tail
    data = head + shape.tag + _length(len(data)) + data
    return b"\x12" + _length(len(data)) + data


_length = lru_cache(maxsize=4096)(varint)
"""Of most it is one of a few."""


def _gzip(data: bytes) -> bytes:
    """Fast: what repeats itself in a request does so at short distances."""
    packer = compressobj(1, wbits=31)
    return packer.compress(data) + packer.flush()
