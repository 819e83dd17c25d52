"""A program that works with a database, and reports to Graphite how its pool of connections does, then ends.

python examples/database.py tcp:127.0.0.1:2003
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import gatherResults
from twisted.internet.task import react

from txmetrics import MetricsRegistry, Reporter, backends
from txmetrics.instrument import MeasuredConnectionPool


def make_slow(connection: sqlite3.Connection) -> None:
    """Give SQL a function that takes its time, as a query without an index does."""
    connection.create_function("sleep", 1, time.sleep)


def greet_twice(transaction: Any) -> None:
    """Two rows in one transaction: the second one is refused, so the first one goes, too."""
    transaction.execute("INSERT INTO greeting (world) VALUES ('Pluto')")
    transaction.execute("INSERT INTO greeting (world) VALUES ('Earth')")


async def work(pool: ConnectionPool) -> None:
    await pool.runOperation("CREATE TABLE greeting (world TEXT UNIQUE)")

    worlds = ["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"]
    await gatherResults([pool.runOperation("INSERT INTO greeting VALUES (?)", [world]) for world in worlds])
    print(f"{len(worlds)} rows inserted", flush=True)

    await gatherResults([pool.runQuery("SELECT sleep(0.1)") for _ in range(6)])
    print("6 slow queries done, by 2 threads", flush=True)

    try:
        await pool.runInteraction(greet_twice)
    except sqlite3.IntegrityError as error:
        print(f"rolled back: {error}", flush=True)

    [[rows]] = await pool.runQuery("SELECT count(*) FROM greeting")
    print(f"{rows} rows are there", flush=True)


async def run(reactor: Any, registry: MetricsRegistry, reporter: Reporter, directory: str) -> None:
    database = str(Path(directory) / "greetings.sqlite")
    pool = ConnectionPool(
        "sqlite3", database, check_same_thread=False, cp_max=2, cp_openfun=make_slow, cp_reactor=reactor
    )
    measured = MeasuredConnectionPool(pool, registry)
    measured.startService()
    reporter.startService()
    try:
        await work(pool)
    finally:
        await reporter.stopService()  # the last interval is reported on the way out
        measured.stopService()
        pool.close()
    tell(registry)


def tell(registry: MetricsRegistry) -> None:
    """Some of the numbers that were reported."""
    wait, run = registry.read("db.wait"), registry.read("db.run")
    print(f"db.commits.count is {registry.read('db.commits')['count']}, ", end="")
    print(f"db.rollbacks.count is {registry.read('db.rollbacks')['count']}")
    print(f"of {run['count']} units of work the longest waited {wait['max']:.3f} s and ran {run['max']:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Works with a database and reports to Graphite.")
    parser.add_argument("graphite", metavar="ENDPOINT", help="the Graphite to report to, such as tcp:127.0.0.1:2003")
    given = parser.parse_args()
    registry = MetricsRegistry()
    try:
        reporter = backends.graphite(registry, given.graphite)
    except ValueError as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as directory:
        react(run, [registry, reporter, directory])


if __name__ == "__main__":
    main()
