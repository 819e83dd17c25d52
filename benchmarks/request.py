"""What it costs to measure a request: CPU time and instructions, without and with, in one run.

    python -m benchmarks.request                # about a minute; --quick: a look at whether it runs

Everything happens in this process, without sockets: bytes of a request into a Site, bytes of an answer into nowhere,
over one connection, and a reader of the registry collects after each 1,000 requests, as a reporter does every ten
seconds at 100 of them a second. So what a measurement costs later is in it, too. Each figure is the least of many
rounds; those of all servers alternate, because a busy machine's noise is larger than what is measured. The
instructions are counted by valgrind, in processes that answer N and 2 N requests, and do not depend on what else the
machine does.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import time
from collections.abc import Callable
from typing import Any, ClassVar

from klein import Klein
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from benchmarks import valgrind
from benchmarks.results import Results, Table
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument import measure_site

REPORT = 1000
"""So many requests, then a collection."""

MICROSECONDS, INSTRUCTIONS = "CPU microseconds a request", "Thousand instructions a request"

WARM = 300
"""So many requests before a measurement begins."""


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"hello"


def tree(*names: bytes) -> Resource:
    """A resource that has Hello at the end of so many segments."""
    root = at = Resource()
    for name in names[:-1]:
        at.putChild(name, Resource())
        at = at.children[name]
    at.putChild(names[-1], Hello())
    return root


def rules() -> Any:
    app = Klein()

    @app.route("/item/<int:number>")
    def item(request: Any, number: int) -> bytes:
        return b"hello"

    return app.resource()


SITES: dict[str, tuple[Callable[[], Any], bytes]] = {
    "hello world": (lambda: tree(b"hello"), b"/hello"),
    "five segments": (lambda: tree(b"a", b"b", b"c", b"d", b"e"), b"/a/b/c/d/e"),
    "a Klein route": (rules, b"/item/7"),
}
"""What is asked, and for what."""

BARE, FLOOR, *OURS = "bare", "floor", "TimedResource", "measure_site"
MEASURED = FLOOR, *OURS

NOTE = (
    "In process, without sockets; all that is told of a request and its route, and its part of the collection. The "
    "floor is a subclass of Request that looks at the clock when it is processed and when it finishes, and puts the "
    "difference into a list."
)


class Nowhere(StringTransport):
    """A connection whose peer takes everything, and asks when it is told to."""

    def write(self, data: bytes) -> None:
        pass

    def writeSequence(self, data: Any) -> None:
        pass


class Clocked(Request):
    """The least that takes the time of a request."""

    times: ClassVar[list[float]] = []

    def process(self) -> None:
        self.began = time.perf_counter()
        super().process()

    def finish(self) -> None:
        self.times.append(time.perf_counter() - self.began)
        super().finish()


class Server:
    """One of the SITES, measured or not, with a connection to it."""

    def __init__(self, name: str, measuring: str) -> None:
        make, path = SITES[name]
        registry = MetricsRegistry()
        site = Site(TimedResource(make(), registry) if measuring == "TimedResource" else make())
        if measuring == "measure_site":
            measure_site(site, registry)
        if measuring == FLOOR:
            site.requestFactory = Clocked
        site.timeOut = None
        self._channel = site.buildProtocol(None)
        self._channel.makeConnection(Nowhere())
        self._request = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path
        self._reader = registry.reader()
        self.ask(WARM)

    def ask(self, requests: int) -> None:
        """Ask so often, and collect what was measured, after the last request and after each REPORT of them."""
        for done in range(0, requests, REPORT):
            for _ in range(min(REPORT, requests - done)):
                self._channel.dataReceived(self._request)
            for _ in self._reader.collect():
                pass
            Clocked.times.clear()


def all_servers() -> dict[tuple[str, str], Server]:
    return {(name, how): Server(name, how) for name in SITES for how in (BARE, *MEASURED)}


def cpu_microseconds(rounds: int) -> dict[tuple[str, str], float]:
    """What a request costs each server."""
    servers = all_servers()
    least = dict.fromkeys(servers, float("inf"))
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for which, server in servers.items():
            begun = time.thread_time()
            server.ask(REPORT)
            least[which] = min(least[which], (time.thread_time() - begun) / REPORT * 1e6)
    return least


def instructions(requests: int) -> dict[tuple[str, str], float]:
    """How many a request takes each server. Raises what ``valgrind.count`` raises."""
    counts = valgrind.count("benchmarks.request", f"--answer={requests}")
    return {(name, how): counts[f"{name}, {how}"] for name in SITES for how in (BARE, *MEASURED)}


def answer(requests: int) -> None:
    """What valgrind watches."""
    for (name, how), server in all_servers().items():
        valgrind.tell(f"{name}, {how}", server.ask, requests)


def tell(title: str, digits: int, costs: dict[tuple[str, str], float]) -> tuple[Table, dict[str, float]]:
    """A table and the figures of what a request costs each server."""
    columns = ["", BARE, *(column for how in MEASURED for column in (how, "more", "ratio"))]
    table, figures = Table(title, columns, note=NOTE), {}
    for name in SITES:
        bare = costs[name, BARE]
        row = [name, f"{bare:.{digits}f}"]
        for how in MEASURED:
            measured = costs[name, how]
            row += [f"{measured:.{digits}f}", f"{measured - bare:+.{digits}f}", f"{measured / bare:.2f}"]
            figures[f"{title} more, {name}, {how}"] = measured - bare
        table.rows.append(row)
    return table, figures


def compare_instructions(requests: int) -> tuple[Table, dict[str, float]]:
    try:
        counts = instructions(requests)
    except (OSError, subprocess.CalledProcessError) as reason:
        return Table(INSTRUCTIONS, [""], note=f"Not counted, which takes valgrind: {reason}"), {}
    return tell(INSTRUCTIONS, 1, {which: each / 1000 for which, each in counts.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to measure a request.")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer is not None:
        answer(given.answer)
        return
    results = Results("request")
    results.add(*tell(MICROSECONDS, 2, cpu_microseconds(1 if given.quick else 60)))
    results.add(*compare_instructions(10 if given.quick else REPORT))
    results.show()
    if given.json is not None:
        results.write(given.json)


if __name__ == "__main__":
    main()
