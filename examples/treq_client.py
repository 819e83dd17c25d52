"""A client that fetches a page a few times with treq, and reports to Graphite how long it took, then ends.

python examples/treq_client.py http://127.0.0.1:8001/ tcp:127.0.0.1:2003

It needs treq: pip install treq
"""

from __future__ import annotations

import argparse
from typing import Any

from treq.client import HTTPClient
from twisted.internet.task import react
from twisted.web.client import Agent, HTTPConnectionPool

from txmetrics import MetricsRegistry, Reporter, backends
from txmetrics.instrument import TimedAgent

TIMEOUT = 10.0
"""Seconds until a request is given up."""


async def fetch(client: HTTPClient, url: str) -> str:
    """What came of one request."""
    try:
        response = await client.get(url, timeout=TIMEOUT)
        body = await response.content()
    except Exception as error:
        return f"failed: {error}"
    return f"{response.code}, {len(body)} bytes"


async def run(reactor: Any, registry: MetricsRegistry, reporter: Reporter, url: str, times: int) -> None:
    pool = HTTPConnectionPool(reactor)
    client = HTTPClient(TimedAgent(Agent(reactor, pool=pool), registry))
    reporter.startService()
    try:
        for number in range(1, times + 1):
            print(f"request {number}: {await fetch(client, url)}", flush=True)
    finally:
        await reporter.stopService()  # the last interval is reported on the way out
        await pool.closeCachedConnections()
    tell(registry)


def tell(registry: MetricsRegistry) -> None:
    """Some of the numbers that were reported."""
    opened, reused = (registry.read(f"http_client.connections.{kind}")["count"] for kind in ("new", "reused"))
    print(f"http_client.connections.new.count is {opened}, http_client.connections.reused.count is {reused}")
    for reading in registry.snapshot():
        if reading.name.endswith(".requests"):
            fields = reading.fields()
            print(f"{reading.name}.count is {fields['count']}, and the longest took {fields['max']:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetches a page a few times and reports to Graphite.")
    parser.add_argument("url", metavar="URL", help="the page to fetch, such as http://127.0.0.1:8001/")
    parser.add_argument("graphite", metavar="ENDPOINT", help="the Graphite to report to, such as tcp:127.0.0.1:2003")
    parser.add_argument("--times", metavar="N", type=int, default=5, help="fetch it so many times (5)")
    given = parser.parse_args()
    registry = MetricsRegistry()
    try:
        reporter = backends.graphite(registry, given.graphite)
    except ValueError as error:
        parser.error(str(error))
    react(run, [registry, reporter, given.url, given.times])


if __name__ == "__main__":
    main()
