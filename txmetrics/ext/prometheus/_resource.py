"""The resource that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from txmetrics import names
from txmetrics.ext._turns import in_turns
from txmetrics.ext.prometheus._accept import OPEN_METRICS, PROTOBUF, TEXT, wants_gzip, wish_of
from txmetrics.ext.prometheus._answer import METHODS, Answer, refusal
from txmetrics.ext.prometheus._catalogue import Catalogue
from txmetrics.ext.prometheus._rendering import Body, Compression, Format, Rendering
from txmetrics.ext.prometheus._shared import Shared
from txmetrics.registry import MetricsRegistry
from txmetrics.snapshot import CounterReading, GaugeReading
from txmetrics.steady import steady
from txmetrics.wire import SECONDS, OpenMetrics, PrometheusPlan, PrometheusProtobuf, PrometheusText

__all__ = ["ScrapeResource"]


class _FailedError(Exception):
    """A rendering has failed, and the log knows of it."""


class ScrapeResource(Resource):
    """A leaf that tells everything in ``registry`` since it was made, in the format that the scraper likes best.

    That is Prometheus' text 0.0.4, OpenMetrics 1.0.0, or protobuf, the one that has native histograms, too. A part
    of a name that says which route, status, type of error and so on becomes a label: ``http.status.2xx`` is
    ``http_status_total{status="2xx"}``. Counters and meters are counters, timers are histograms of seconds.
    A gauge that cannot be read or is no number, and a counter that is negative, is left out and counted
    (``txmetrics_scrape_unreadable_total``).

    ``buckets`` are the bounds of histograms of seconds, ``help`` is a sentence by a metric's name. Raises ValueError
    for bounds that do not ascend. ``reactor`` is the running one (IReactorTime); None: the global one.

    It works in the reactor's thread, in turns of half a millisecond, once for all who ask within most of a second.
    **Whoever can reach it can read the names and values of all metrics**: mount it where only your scraper comes,
    behind a port of its own or a credential checker. It changes nothing, and nothing of a request is in its answer.
    """

    isLeaf = True
    log = Logger()

    def __init__(
        self,
        registry: MetricsRegistry,
        *,
        reactor: Any = None,
        buckets: Sequence[float] = SECONDS,
        help: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._registry = registry
        self._reactor = reactor
        self._scrapes = self._unreadable = 0
        self._seconds = 0.0
        self._catalogue = Catalogue(registry, PrometheusPlan(buckets, help), self._own())
        self._formats: dict[str, Format] = {
            TEXT: PrometheusText(),
            OPEN_METRICS: OpenMetrics(),
            PROTOBUF: PrometheusProtobuf(),
        }
        self._plain = {name: self._shared(partial(self._render, each)) for name, each in self._formats.items()}
        self._gzip = {name: self._shared(partial(self._compress, name)) for name in self._formats}

    def render(self, request: Any) -> Any:
        if request.method not in METHODS:
            return refusal(request)
        self._scrapes += 1
        wish, gzip = wish_of(request), wants_gzip(request)
        headers = {
            b"content-type": (self._formats[wish.format].content_type + wish.parameters).encode(),
            b"vary": b"Accept, Accept-Encoding",
        }
        if gzip:
            headers[b"content-encoding"] = b"gzip"
        answer = Answer(request, headers)
        (self._gzip if gzip else self._plain)[wish.format].ask().addCallbacks(answer.send, answer.fail)
        return NOT_DONE_YET

    def _own(self) -> Mapping[str, Callable[[], CounterReading | GaugeReading]]:
        """What this resource tells of itself: each name, and what reads it."""
        scrapes, unreadable, seconds = (
            f"{names.OWN}.{name}" for name in ("scrapes", "scrape_unreadable", "scrape_duration_seconds")
        )
        return {
            scrapes: lambda: CounterReading(scrapes, self._scrapes),
            unreadable: lambda: CounterReading(unreadable, self._unreadable),
            seconds: lambda: GaugeReading(seconds, self._seconds),
        }

    def _shared(self, make: Any) -> Shared:
        return Shared(make, self._registry.clock.tick, lambda: self._time)

    @cached_property
    def _time(self) -> Any:
        return steady(self._running)

    @cached_property
    def _running(self) -> Any:
        if self._reactor is None:
            from twisted.internet import reactor

            return reactor
        return self._reactor

    @cached_property
    def _turns(self) -> Cooperator:
        return in_turns(self._running, self._registry.clock)

    def _render(self, format: Format) -> Deferred[Body]:
        now = self._registry.clock.tick
        rendering = Rendering(self._catalogue, format, now())

        def rendered() -> Body:
            body = rendering.body()
            self._unreadable += rendering.unreadable
            self._seconds = now() - body.began
            return body

        return self._take_turns(rendering.steps(), rendered)

    def _compress(self, format: str) -> Deferred[Body]:
        def compress(body: Body) -> Deferred[Body]:
            compression = Compression(body)
            return self._take_turns(compression.steps(), compression.body)

        return self._plain[format].ask().addCallback(compress)

    def _take_turns(self, steps: Any, result: Any) -> Deferred[Body]:
        done: Deferred[Any] = self._turns.coiterate(steps)
        return done.addCallback(lambda _: result()).addErrback(self._failed)

    def _failed(self, failure: Failure) -> NoReturn:
        self.log.failure("the metrics could not be written down for a scraper", failure=failure)
        raise _FailedError
