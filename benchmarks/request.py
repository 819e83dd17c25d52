"""What it costs to measure a request: CPU time and instructions, without and with, in one run.

    python benchmarks/request.py                # about a minute

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
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from klein import Klein
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Site

from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument import measure_site

REPORT = 1000
"""So many requests, then a collection."""

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

BARE, *MEASURED = "bare", "TimedResource", "measure_site"


class Nowhere(StringTransport):
    """A connection whose peer takes everything, and asks when it is told to."""

    def write(self, data: bytes) -> None:
        pass

    def writeSequence(self, data: Any) -> None:
        pass


class Server:
    """One of the SITES, measured or not, with a connection to it."""

    def __init__(self, name: str, measuring: str) -> None:
        make, path = SITES[name]
        registry = MetricsRegistry()
        site = Site(TimedResource(make(), registry) if measuring == "TimedResource" else make())
        if measuring == "measure_site":
            measure_site(site, registry)
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
    """How many a request takes each server. Raises OSError or CalledProcessError if valgrind does not count them."""
    with tempfile.TemporaryDirectory() as logs:
        tool = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", f"--log-file={logs}/%p"]
        command = ["valgrind", *tool, sys.executable, __file__, f"--answer={requests}"]
        told = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, stdout=subprocess.PIPE, check=True)
        counts = {}
        for line in told.stdout.decode().splitlines():
            name, how, *pids = line.split(",")
            once, twice = (_counted(Path(logs, pid)) for pid in pids)
            counts[name, how] = (twice - once) / requests
    return counts


def _counted(log: Path) -> int:
    found = re.search(r"I +refs: +([\d,]+)", log.read_text())
    assert found is not None, log.read_text()
    return int(found[1].replace(",", ""))


def answer(requests: int) -> None:
    """In a process that valgrind watches: fork children that answer so many requests, and twice as many.

    Their counts have that of this process until then in them, which is the same for both. Prints their ids.
    """
    for (name, how), server in all_servers().items():
        print(name, how, _child(server, requests), _child(server, 2 * requests), sep=",")


def _child(server: Server, requests: int) -> int:
    pid = os.fork()
    if not pid:
        server.ask(requests)
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def show(what: str, digits: int, figures: dict[tuple[str, str], float]) -> None:
    print(f"\n{what:<34}{BARE:>9}" + "".join(f"{how:>26}" for how in MEASURED))
    for name in SITES:
        bare = figures[name, BARE]
        row = f"  {name:<32}{bare:9.{digits}f}"
        for how in MEASURED:
            measured = figures[name, how]
            row += f"{measured:10.{digits}f} {measured - bare:+8.{digits}f} x{measured / bare:.2f}"
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to measure a request.")
    parser.add_argument("--rounds", type=int, default=40, help=f"of {REPORT} requests to each server (40)")
    parser.add_argument("--instructions", type=int, default=REPORT, metavar="N", help="count those of N requests")
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if min(given.rounds, given.instructions) < 1:
        parser.error("a figure needs one round and one request at the least")
    if given.answer is not None:
        answer(given.answer)
        return
    show("CPU microseconds a request", 2, cpu_microseconds(given.rounds))
    try:
        counts = instructions(given.instructions)
    except (OSError, subprocess.CalledProcessError) as reason:
        print(f"\nno instructions are counted, which takes valgrind: {reason}")
    else:
        show("thousand instructions a request", 1, {which: each / 1000 for which, each in counts.items()})


if __name__ == "__main__":
    main()
