"""Dashboard: the page that shows a registry's numbers, live."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import TaskStopped
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import NoRangeStaticProducer

from txmetrics.ext.dashboard import _assets, _json
from txmetrics.ext.dashboard._answers import HEADERS, JSON, say, send, send_headers
from txmetrics.ext.dashboard._events import VIEWERS, Viewers
from txmetrics.ext.dashboard._guard import Guard
from txmetrics.ext.dashboard._history import RANGES
from txmetrics.ext.dashboard._live import Live
from txmetrics.ext.dashboard._overview import Sources
from txmetrics.ext.dashboard._reports import Reporters, Reports
from txmetrics.ext.dashboard._work import Shared
from txmetrics.registry import MetricsRegistry

__all__ = ["Dashboard"]

NAMES = 50
"""So many series may be asked for at a time."""


class Dashboard(Resource):
    """A Resource, to be mounted anywhere, that shows what ``registry`` has: now, and in the last day.

    From when the reactor runs until ``close`` it keeps a point a second for five minutes, one of 10 seconds for an
    hour and one of a minute for a day, of at most ``max_series`` series: 8.4 kB each when all is full. For those who
    look, a state is written down once a second, in turns; at most fifty may look at a time.

    ``slowest`` and ``blocked`` tell what took long: ``TimedResource.slowest`` and ``BlockingCalls.slowest``.
    ``reporters``, several or a callable that returns them, are those whose state is shown. ``reactor`` is the one that
    will run; None: the global one.

    It is for whoever sits at this machine. Refused with 403 are requests from or to an address that is not loopback
    (a UNIX socket is), and those that a proxy sent on, unless with ``allow_public``: say that if everybody may see all
    of it, or if a login stands before it (HTTPAuthSessionWrapper). Refused as well is any Host header but localhost,
    127.0.0.1, [::1] and those of ``hosts``, also with ``allow_public``. Only GET and HEAD are answered.

    An error in here is logged once, answered with 500, and reaches nobody else. Raises ValueError for a name in
    ``hosts`` that is none (TypeError for a string instead of several), and for a ``max_series`` below 1.
    """

    isLeaf = True
    log = Logger()

    def __init__(
        self,
        registry: MetricsRegistry,
        *,
        slowest: Callable[[], Iterable[Any]] | None = None,
        blocked: Callable[[], Iterable[Any]] | None = None,
        reporters: Reporters = (),
        hosts: Collection[str] = (),
        allow_public: bool = False,
        max_series: int = 5000,
        reactor: Any = None,
    ) -> None:
        super().__init__()
        if max_series < 1:
            raise ValueError(f"max_series is {max_series}; to show anything, at least one series has to be kept")
        self._guard = Guard(hosts, allow_public)
        self._registry = registry
        self._max_series = max_series
        self._sources = Sources(slowest, blocked, Reports(reporters))
        self._page = _assets.page()
        self._viewers = Viewers()
        self._live: Live | None = None
        self._promised = 0
        self._failed = False
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        reactor.callWhenRunning(self.start)

    def start(self) -> None:
        """Begin to keep what happens. It is called when the reactor runs, and has no effect until ``close`` was."""
        if self._live is None:
            self._live = Live(self._registry, self._max_series, self._sources, self._viewers, self._reactor)
            self._compressed = Shared(self._live.work)

    def close(self) -> None:
        """Forget everything, and end the streams of those who look. May be called at any time, also twice."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()
        self._viewers.close()

    def render(self, request: Any) -> int:
        try:
            self._answer(request)
        except Exception:
            self._wrong(request, Failure())
        return NOT_DONE_YET

    def _answer(self, request: Any) -> None:
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        objection = self._guard.objection(request)
        if objection is not None:
            say(request, http.FORBIDDEN, objection)
        elif request.method not in (b"GET", b"HEAD"):
            request.setHeader("Allow", "GET, HEAD")
            say(request, http.NOT_ALLOWED, "There is nothing to change here; GET and HEAD are all that is answered.")
        elif not request.postpath:
            # Relative, because nobody knows what a proxy calls this place; with a dot, for a name may have a colon.
            request.setHeader(b"Location", b"./" + request.path.rpartition(b"/")[2] + b"/")
            say(request, http.FOUND, "The dashboard is a directory; its address ends with a slash.")
        else:
            self._answer_for(request, b"/".join(request.postpath).decode("utf-8", "replace") or _assets.INDEX)

    def _answer_for(self, request: Any, name: str) -> None:
        if name in self._page:
            kind, content = self._page[name]
            send(request, content, kind)
        elif name not in _ANSWERS:
            say(request, http.NOT_FOUND, "There is nothing of this name here.")
        elif self._live is None:
            say(request, http.SERVICE_UNAVAILABLE, "The dashboard has no numbers; it is not running.")
        else:
            _ANSWERS[name](self, request, self._live)

    # What can be asked for

    def _tell_state(self, request: Any, live: Live) -> None:
        self._promise(request, live.state, JSON)

    def _tell_metrics(self, request: Any, live: Live) -> None:
        self._promise(request, lambda: live.work.do(_json.metrics(self._registry)), JSON)

    def _tell_series(self, request: Any, live: Live) -> None:
        self._promise(request, lambda: live.work.do(_json.series(live.history.table.kept)), JSON)

    def _tell_history(self, request: Any, live: Live) -> None:
        range_ = request.args.get(b"range", [b""])[0].decode("utf-8", "replace")
        names = [name.decode("utf-8", "replace") for name in request.args.get(b"name", [])]
        if range_ not in RANGES:
            say(request, http.BAD_REQUEST, f"There is no such range; ask for one of {', '.join(RANGES)}.")
        elif len(names) > NAMES:
            say(request, http.BAD_REQUEST, f"These are {len(names)} series; ask for at most {NAMES} at a time.")
        else:
            self._promise(request, lambda: live.work.do(_json.history(live.history, range_, names)), JSON)

    def _tell_events(self, request: Any, live: Live) -> None:
        request.setHeader("Content-Type", "text/event-stream; charset=utf-8")
        if request.method == b"HEAD":
            send_headers(request)
        elif len(self._viewers) >= VIEWERS:
            say(request, http.SERVICE_UNAVAILABLE, f"There are {VIEWERS} who look already; close a page that is open.")
        else:
            viewer = self._viewers.add(request)
            live.state().addCallback(viewer.tell).addErrback(self._not_told)

    def _tell_plotly(self, request: Any, live: Live) -> None:
        file = _assets.plotly()
        if file is None:
            say(request, http.NOT_FOUND, "Plots need plotly: pip install 'txmetrics[dashboard]'")
            return
        coded = _assets.accepts_gzip(request)
        tag = _assets.tag(file, coded)
        request.setHeader("Cache-Control", "no-cache")  # it may be kept, and is asked for again by its tag
        request.setHeader("Vary", "Accept-Encoding")
        if request.setETag(tag) is http.CACHED:
            send_headers(request)
            return
        if coded:
            request.setHeader("Content-Encoding", "gzip")
            make = partial(_assets.compressed, file)
            self._promise(request, lambda: self._compressed.ask(tag, make), _assets.TYPES[".js"])
            return
        request.setHeader("Content-Type", _assets.TYPES[".js"])
        request.setHeader("Content-Length", str(file.stat().st_size))
        if request.method == b"HEAD":
            send_headers(request)
        else:
            NoRangeStaticProducer(request, file.open("rb")).start()

    # How it is told, and what may go wrong

    def _promise(self, request: Any, begin: Callable[[], Deferred[bytes]], kind: str) -> None:
        """Answer ``request`` with what ``begin()`` comes to, of the type ``kind``, unless the client leaves before."""
        if self._promised >= VIEWERS:
            say(request, http.SERVICE_UNAVAILABLE, "Too much is being asked at a time; ask again in a second.")
            return
        content = begin()
        self._promised += 1
        there = True

        def leave(failure: Failure) -> None:
            nonlocal there
            there = False
            content.cancel()

        def keep(content: bytes) -> None:
            send(request, content, kind)

        def fail(failure: Failure) -> None:
            self._promised -= 1
            if there:
                self._wrong(request, failure)

        request.notifyFinish().addErrback(leave)
        content.addCallback(keep).addCallbacks(self._kept, fail)

    def _kept(self, result: None) -> None:
        self._promised -= 1

    def _wrong(self, request: Any, failure: Failure) -> None:
        """Say to the client, and once in the log, that something went wrong."""
        self._not_told(failure)
        if request.startedWriting:
            request.loseConnection()
        elif failure.check(TaskStopped):
            say(request, http.SERVICE_UNAVAILABLE, "The dashboard is being closed.")
        else:
            say(request, http.INTERNAL_SERVER_ERROR, "The dashboard failed to answer; its server's log says why.")

    def _not_told(self, failure: Failure) -> None:
        if not self._failed and failure.check(TaskStopped) is None:
            self._failed = True
            self.log.failure("the dashboard failed to answer; this is said only once", failure)


_ANSWERS: Mapping[str, Callable[[Dashboard, Any, Live], None]] = {
    "state": Dashboard._tell_state,
    "events": Dashboard._tell_events,
    "metrics": Dashboard._tell_metrics,
    "series": Dashboard._tell_series,
    "history": Dashboard._tell_history,
    _assets.PLOTLY: Dashboard._tell_plotly,
}
