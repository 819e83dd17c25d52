"""Prometheus remote write: bodies of series, each with the one sample of the report.

A series that is new was nothing before, and says so with a sample of zero at the report before: ``increase`` and
``rate`` know then what has been counted since. When a metric is no more its series get a stale marker, with which they
vanish from queries at once. Both are samples like others, and a point is a sample.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from zope.interface import implementer

from txmetrics.interfaces import Chunk, IEncoder, IWire
from txmetrics.snapshot import Reading
from txmetrics.wire._prometheus_plan import SECONDS, PrometheusPlan
from txmetrics.wire._remote_write_buckets import STYLES
from txmetrics.wire._remote_write_bytes import Moment, snappy
from txmetrics.wire._remote_write_metrics import Metrics, Moments

__all__ = ["RemoteWrite"]

FULL = 30_000
"""A body of so many bytes is full. The metric that fills it may, with its buckets, be as large again."""

EVERY, LOOKS = 10, 20
"""After so many readings, so many metrics are looked after, whether they still exist: all, by the end of a report."""

LAST_LOOKS = 100
"""And so many at its end, where few are left to be told."""


@implementer(IWire)
class RemoteWrite:
    """Bodies for version 1.0 of Prometheus' remote write; a chunk is one whole body, in snappy's format.

    Names and labels are those of ``PrometheusPlan``, with ``labels`` on every series; a metric's own label that is
    called as one of these becomes ``exported_...``. ``histograms`` is "classic", "native" or "vmrange"; ``buckets``
    are the classic bounds of durations, in seconds. The readings must be of whole lives, not of intervals.

    ``exists`` says whether a metric is still there. ``since`` is the second since the epoch at which everything was
    nothing, but for the metrics in ``earlier``; None: nobody knows. Raises ValueError for ``histograms`` or ``buckets``
    that are none.
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        histograms: str = "classic",
        buckets: Sequence[float] = SECONDS,
        *,
        exists: Callable[[str], bool] = lambda name: True,
        since: float | None = None,
        earlier: Iterable[str] = (),
    ) -> None:
        if histograms not in STYLES:
            raise ValueError(f"histograms {histograms!r} are unknown; choose one of {', '.join(STYLES)}")
        self._metrics = Metrics(PrometheusPlan(buckets), histograms, labels, exists, earlier)
        self._since = None if since is None else Moment(int(since * 1000))
        self._last: Moment | None = None

    def encoder(self, timestamp: int) -> IEncoder:
        """A fresh encoder for a report of the second ``timestamp``; the one before is not used any more."""
        now, last = Moment(int(timestamp) * 1000), self._last
        self._last = now
        # What is gone ended right after the last report, and what is new begins behind that: it may be the same series.
        zero = self._since if last is None else Moment(last.milliseconds + 2)
        if zero is not None and zero.milliseconds >= now.milliseconds:  # the clock was set back, or it has just begun
            zero = None if last is not None else Moment(now.milliseconds - 1)
        self._metrics.look_again()
        return _Bodies(self._metrics, Moments(now, zero, _after(last or now), _after(now)), now.seconds)

    def farewell(self) -> Iterator[Chunk]:
        """Stale markers for everything that was told, right after the last report, a body at a time.

        The wire is not used any more.
        """
        if self._last is None:
            return
        end = _after(self._last)
        bodies = _Bodies(self._metrics, Moments(self._last, None, end, end), self._last.seconds)
        while (ended := self._metrics.end_last(end)) is not None:
            chunk = bodies.take(*ended)
            if chunk is not None:
                yield chunk
        chunk = bodies.finish()
        if chunk is not None:
            yield chunk


def _after(report: Moment) -> Moment:
    return Moment(report.milliseconds + 1)


@implementer(IEncoder)
class _Bodies:
    """One report as bodies. ``refused`` counts readings."""

    def __init__(self, metrics: Metrics, at: Moments, timestamp: int) -> None:
        self.refused: Tally[str] = Tally()
        self._metrics = metrics
        self._at = at
        self._timestamp = timestamp
        self._readings = 0
        self._clear()

    def add(self, reading: Reading) -> Chunk | None:
        self._readings += 1
        if self._readings % EVERY == 0:
            self._put(*self._metrics.gone(LOOKS, self._at))
        return self.take(*self._metrics.write(reading, self._at, self.refused))

    def finish(self) -> Chunk | None:
        for _ in range(LAST_LOOKS):
            if self._size >= FULL or self._metrics.all_looked_at:
                break
            self._put(*self._metrics.gone(1, self._at))
        return self._body()

    def take(self, series: bytes, points: int) -> Chunk | None:
        """Put series into the body; the answer is a chunk when that has become full."""
        self._put(series, points)
        return self._body() if self._size >= FULL else None

    def _put(self, series: bytes, points: int) -> None:
        self._series.append(series)
        self._size += len(series)
        self._points += points

    def _body(self) -> Chunk | None:
        data, points = b"".join(self._series), self._points
        self._clear()
        return Chunk(snappy(data), points, self._timestamp) if points else None

    def _clear(self) -> None:
        self._series: list[bytes] = []
        self._size = self._points = 0
