"""A small shop in Klein that reports its requests by route, and who held the reactor, until it is stopped.

python examples/klein_app.py tcp:127.0.0.1:2003

curl -d '' http://127.0.0.1:8002/item/2/order

It needs Klein: pip install klein
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from klein import Klein
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.web.server import Site
from werkzeug.exceptions import NotFound

from txmetrics import MeasuredReactor, MetricsRegistry, TimedResource, backends, set_long_lived, set_route
from txmetrics.instrument import BlockingCalls

reactor: Any = _reactor

ITEMS = {1: "compass", 2: "sextant", 3: "star map"}
REPORTS = {"sales": 0.0, "stock": 0.1}
"""How many seconds each takes to make."""


class Shop:
    app = Klein()

    def __init__(self) -> None:
        self._orders = 0
        self._waiting: list[Deferred[str]] = []

    @app.route("/")
    def home(self, request: Any) -> str:
        return "".join(f"{number}: {item}\n" for number, item in ITEMS.items())

    @app.route("/item/<int:number>")
    async def item(self, request: Any, number: int) -> str:
        """Its price is asked of somebody who answers later."""
        if number not in ITEMS:
            raise NotFound()
        price = await deferLater(reactor, 0.01, lambda: 7 * number)
        return f"{ITEMS[number]}: {price} pounds\n"

    @app.route("/item/<int:number>/order", methods=["POST"])
    def order(self, request: Any, number: int) -> str:
        item = ITEMS[number]  # for a number that does not exist an error, as programs have them
        self._orders += 1
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(f"order {self._orders}: {item}\n")
        return f"thank you for order {self._orders}\n"

    @app.route("/events")
    async def events(self, request: Any) -> None:
        """How many orders there are, every second for as long as the client listens: found to be long-lived."""
        request.setHeader("content-type", "text/event-stream")
        while True:  # Klein cancels us when the client is gone
            request.write(f"data: {self._orders}\n\n".encode())
            await deferLater(reactor, 1.0)

    with app.subroute("/admin") as app:

        @app.route("/next-order")
        async def next_order(self, request: Any) -> str:
            """The next order, when there is one: this wait says nothing of how fast we are."""
            set_long_lived(request)
            waiting: Deferred[str] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            return await waiting

        @app.route("/report/<kind>")
        def report(self, request: Any, kind: str) -> str:
            """Reports are as different as routes are."""
            if kind not in REPORTS:
                raise NotFound()
            set_route(request, f"/admin/report/{kind}")  # one of ours: what a client sends must not become a name
            time.sleep(REPORTS[kind])
            return f"{kind}: {self._orders} orders\n"

        @app.route("/close-the-day")
        async def close_the_day(self, request: Any) -> str:
            """Holds the reactor long after Klein has called it, which is when one wants to know who that was."""
            await deferLater(reactor, 0.01)
            time.sleep(0.1)
            return f"{self._orders} orders\n"


def serve(port: int, graphite: str) -> Any:
    """Listen, measure and report; the Deferred of the port. Raises ValueError for a ``graphite`` that is none."""
    registry = MetricsRegistry()
    site = Site(TimedResource(Shop().app.resource(), registry))
    backends.graphite(registry, graphite).start_with(reactor)
    for each in (MeasuredReactor(registry), BlockingCalls(registry)):
        reactor.callWhenRunning(each.startService)
        reactor.addSystemEventTrigger("after", "shutdown", each.stopService)
    return serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1").listen(site)


def main() -> None:
    parser = argparse.ArgumentParser(description="A small shop in Klein that reports to Graphite.")
    parser.add_argument("graphite", metavar="ENDPOINT", help="the Graphite to report to, such as tcp:127.0.0.1:2003")
    parser.add_argument("--listen", metavar="PORT", type=int, default=8002, help="answer on this port (8002; 0: any)")
    given = parser.parse_args()
    errors = []

    def listens(port: Any) -> None:
        print(f"Listening: curl http://127.0.0.1:{port.getHost().port}/item/2", flush=True)

    def failed(failure: Any) -> None:
        errors.append(failure.getErrorMessage())
        reactor.callWhenRunning(reactor.stop)

    try:
        serve(given.listen, given.graphite).addCallbacks(listens, failed)
    except ValueError as error:
        parser.error(str(error))
    reactor.run()
    if errors:
        sys.exit(f"klein_app.py: {errors[0]}")


if __name__ == "__main__":
    main()
