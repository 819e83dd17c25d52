"""Connection pools of adbapi, with a real SQLite: each unit of work counts once, and does what it always did."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.threadpool import ThreadPool

from tests.strict import Logged, the_reactor
from tests.waiting import wait_until
from txmetrics import MetricsRegistry
from txmetrics.instrument import MeasuredThreadPool
from txmetrics.instrument._adbapi import TYPES, MeasuredConnectionPool
from txmetrics.testing import FakeReactor

NAMES = {"connections", "threads", "working", "queue", "max", "wait", "run", "commits", "rollbacks"}
NAMES |= {"untimed", "measuring_errors"}


def prepare(connection: sqlite3.Connection) -> None:
    """What every connection of these tests can do."""
    connection.create_function("sleep", 1, time.sleep)
    connection.execute("PRAGMA foreign_keys = ON")


class Measured:
    """A pool that is measured, and what a reporter reads of it."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.before = dict(vars(pool))
        self.threads_before = dict(vars(pool.threadpool))
        self.registry = MetricsRegistry()
        self.service = MeasuredConnectionPool(pool, self.registry)
        self.service.startService()

    def read(self) -> dict[str, Any]:
        """Fields by name, without the scope; of counters the count."""
        fields = {reading.name: reading.fields() for reading in self.registry.snapshot()}
        return {
            name.removeprefix("db."): found.get("value", found.get("count") if len(found) == 1 else found)
            for name, found in fields.items()
        }

    def counts(self) -> dict[str, int]:
        """How many units ran, waited, were committed and rolled back; and of each error, if there was any."""
        read = self.read()
        errors = {name.removeprefix("errors."): read[name] for name in read if name.startswith("errors.")}
        timed = {name: read[name]["count"] for name in ("run", "wait")}
        return {**timed, "commits": read["commits"], "rollbacks": read["rollbacks"], **errors}


Make = Callable[..., Measured]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a pool with one thread, or others, of a class of one's own perhaps, and measures it."""
    made: list[Measured] = []

    def make(kind: Any = adbapi.ConnectionPool, file: str = "test.sqlite", **options: Any) -> Measured:
        settings = {"check_same_thread": False, "cp_min": 1, "cp_max": 1, "cp_openfun": prepare, **options}
        pool = kind("sqlite3", str(tmp_path / file), cp_reactor=settings.pop("cp_reactor", the_reactor()), **settings)
        made.append(Measured(pool))
        return made[-1]

    yield make
    for one in made:
        one.service.stopService()
        if not one.pool.threadpool.joined:
            one.pool.close()


async def fails(work: Deferred[Any]) -> BaseException:
    """What ``work`` fails with."""
    try:
        await work
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def select(transaction: Any) -> Any:
    transaction.execute("SELECT 1")
    return transaction.fetchall()


# What is measured


@pytest_twisted.ensureDeferred
async def test_every_number_has_its_name(make: Make) -> None:
    """These, and no others; an error has one when it happens."""
    measured = make()
    assert set(measured.read()) == NAMES
    await fails(measured.pool.runQuery("SELECT * FROM nowhere"))
    assert set(measured.read()) == NAMES | {"errors.OperationalError"}


@pytest.mark.parametrize(
    ("work", "result"),
    [
        (lambda pool: pool.runQuery("SELECT ?", [5]), [(5,)]),
        (lambda pool: pool.runOperation("CREATE TABLE one (number INTEGER)"), None),
        (lambda pool: pool.runInteraction(select), [(1,)]),
        (lambda pool: pool.runWithConnection(lambda one: one.execute("SELECT 2").fetchall()), [(2,)]),
    ],
    ids=["query", "operation", "interaction", "connection"],
)
@pytest_twisted.ensureDeferred
async def test_every_kind_of_work_is_one_unit(make: Make, work: Callable[[Any], Deferred[Any]], result: Any) -> None:
    """Although a query is an interaction, too."""
    measured = make()
    assert await work(measured.pool) == result
    assert measured.counts() == {"run": 1, "wait": 1, "commits": 1, "rollbacks": 0}


@pytest_twisted.ensureDeferred
async def test_the_second_of_two_waits_for_the_first(make: Make) -> None:
    """Two queries of 50 ms and one thread: the one waits as long as the other runs."""
    measured = make()
    await measured.pool.runQuery("SELECT 1")
    wait_until(lambda: measured.read()["working"] == 0, lambda: "its thread is idle again")
    begin = time.perf_counter()
    both = gatherResults([measured.pool.runQuery("SELECT sleep(0.05)") for _ in range(2)])
    during = measured.read()
    await both
    took = time.perf_counter() - begin
    assert (during["working"], during["queue"]) == (1, 1)
    wait_until(lambda: measured.read()["working"] == 0, lambda: "and again")
    read = measured.read()
    assert (read["queue"], read["threads"], read["max"], read["connections"]) == (0, 1, 1, 1)
    assert 0.05 <= read["wait"]["max"] <= took
    assert 0.05 <= read["run"]["max"] <= took - 0.05


@pytest_twisted.ensureDeferred
async def test_work_that_raises_is_rolled_back(make: Make) -> None:
    """Once; the caller gets the very error, and the database has nothing of it."""
    measured = make()
    error = LookupError("on purpose")

    def work(transaction: Any) -> None:
        transaction.execute("INSERT INTO one VALUES (1)")
        raise error

    await measured.pool.runOperation("CREATE TABLE one (number INTEGER)")
    assert await fails(measured.pool.runInteraction(work)) is error
    assert await measured.pool.runQuery("SELECT * FROM one") == []
    assert measured.counts() == {"run": 3, "wait": 3, "commits": 2, "rollbacks": 1, "LookupError": 1}


@pytest_twisted.ensureDeferred
async def test_a_commit_that_fails_is_rolled_back(make: Make) -> None:
    """A constraint that is checked at the end only: nothing was committed."""
    measured = make()
    deferred = "REFERENCES one DEFERRABLE INITIALLY DEFERRED"
    await measured.pool.runOperation(f"CREATE TABLE one (id INTEGER PRIMARY KEY, other INTEGER {deferred})")
    error = await fails(measured.pool.runOperation("INSERT INTO one VALUES (1, 2)"))
    assert isinstance(error, sqlite3.IntegrityError)
    assert measured.counts() == {"run": 2, "wait": 2, "commits": 1, "rollbacks": 1, "IntegrityError": 1}


class Unwilling(adbapi.Connection):
    """A connection that does not roll back."""

    def rollback(self) -> None:
        raise OSError("not now")


class WithUnwilling(adbapi.ConnectionPool):
    connectionFactory = Unwilling


@pytest_twisted.ensureDeferred
async def test_a_rollback_that_fails_is_one_all_the_same(make: Make, logged: Logged) -> None:
    """adbapi logs its error; the caller gets, and the counter counts, that of the work."""
    measured = make(WithUnwilling)
    assert isinstance(await fails(measured.pool.runQuery("SELECT * FROM nowhere")), sqlite3.OperationalError)
    assert len(logged.flush(OSError)) == 1
    assert measured.counts() == {"run": 1, "wait": 1, "commits": 0, "rollbacks": 1, "OperationalError": 1}


@pytest_twisted.ensureDeferred
async def test_work_without_a_connection_is_not_rolled_back(make: Make) -> None:
    """A database that cannot be opened, and work after work that had one."""
    measured = make(file="missing/test.sqlite")
    for _ in range(2):
        assert isinstance(await fails(measured.pool.runQuery("SELECT 1")), sqlite3.OperationalError)
    assert measured.counts() == {"run": 2, "wait": 2, "commits": 0, "rollbacks": 0, "OperationalError": 2}
    assert measured.read()["connections"] == 0


@pytest_twisted.ensureDeferred
async def test_work_that_gets_no_cursor_is_not_rolled_back(make: Make) -> None:
    """The database went away, and the pool was not told to connect again."""
    measured = make()
    await measured.pool.runWithConnection(lambda one: one._connection.execute("SELECT 1"))
    [raw] = measured.pool.connections.values()
    raw.close()
    assert isinstance(await fails(measured.pool.runQuery("SELECT 1")), sqlite3.ProgrammingError)
    assert measured.counts() == {"run": 2, "wait": 2, "commits": 1, "rollbacks": 0, "ProgrammingError": 1}


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_lost_is_made_anew(make: Make, logged: Logged) -> None:
    """cp_reconnect: a cursor on a dead connection is retried in the same unit, which is committed."""
    opened = []
    measured = make(cp_reconnect=True, cp_openfun=opened.append, cp_good_sql="SELECT 1")
    await measured.pool.runQuery("SELECT 1")
    [raw] = measured.pool.connections.values()
    raw.close()
    assert await measured.pool.runQuery("SELECT 2") == [(2,)]
    assert len(logged.flush(sqlite3.ProgrammingError)) == 1
    assert len(opened) == 2
    assert measured.counts() == {"run": 2, "wait": 2, "commits": 2, "rollbacks": 0}
    assert measured.read()["connections"] == 1


@pytest_twisted.ensureDeferred
async def test_a_connection_that_dies_at_work(make: Make, logged: Logged) -> None:
    """cp_reconnect: the rollback finds it dead and drops it; the next unit has a new one."""
    measured = make(cp_reconnect=True, cp_good_sql="SELECT 1")

    def die(connection: Any) -> None:
        connection._connection.close()
        raise LookupError("on purpose")

    assert isinstance(await fails(measured.pool.runWithConnection(die)), LookupError)
    assert len(logged.flush(sqlite3.ProgrammingError, adbapi.ConnectionLost)) == 2
    assert measured.read()["connections"] == 0
    assert await measured.pool.runQuery("SELECT 2") == [(2,)]
    assert measured.counts() == {"run": 2, "wait": 2, "commits": 1, "rollbacks": 1, "LookupError": 1}


@pytest_twisted.ensureDeferred
async def test_the_types_of_errors_are_bounded(make: Make) -> None:
    """An application that makes types as it goes makes no more counters than a few."""
    measured = make()

    def work(transaction: Any, number: int) -> None:
        raise type(f"Error{number}", (Exception,), {})

    for number in range(TYPES + 10):
        await fails(measured.pool.runInteraction(work, number))
    counts = measured.counts()
    assert counts["Error0"] == counts[f"Error{TYPES - 1}"] == 1
    assert counts["_other"] == 10
    assert counts["rollbacks"] == TYPES + 10
    assert len(counts) == 4 + TYPES + 1


class Retrying(adbapi.ConnectionPool):
    """A pool that tries an interaction once more."""

    def runInteraction(self, interaction: Any, *args: Any, **kw: Any) -> Deferred[Any]:
        again = super().runInteraction
        return again(interaction, *args, **kw).addErrback(lambda failure: again(interaction, *args, **kw))


@pytest_twisted.ensureDeferred
async def test_a_subclass_that_tries_again_has_two_units(make: Make) -> None:
    """One that was rolled back and one that was committed; the caller sees the second only."""
    measured, tries = make(Retrying), []

    def work(transaction: Any) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("on purpose")
        return "well"

    assert await measured.pool.runInteraction(work) == "well"
    assert measured.counts() == {"run": 2, "wait": 2, "commits": 1, "rollbacks": 1, "LookupError": 1}


@pytest_twisted.ensureDeferred
async def test_other_work_in_its_threads_commits_nothing(make: Make) -> None:
    """What an application gives to the threads itself runs and waits like the rest."""
    measured = make()
    await measured.pool.runQuery("SELECT 1")
    done: Deferred[None] = Deferred()
    measured.pool.threadpool.callInThread(the_reactor().callFromThread, done.callback, None)
    await done
    await measured.pool.runQuery("SELECT 1")
    assert measured.counts() == {"run": 3, "wait": 3, "commits": 2, "rollbacks": 0}


# The life of a pool


def test_a_pool_that_was_not_started_is_not_started(make: Make) -> None:
    """Its reactor does not run yet: work waits, and no thread and no connection is made by being read."""
    measured = make(cp_reactor=FakeReactor())
    measured.pool.runQuery("SELECT 1")
    read = measured.read()
    assert (read["queue"], read["threads"], read["connections"]) == (1, 0, 0)
    assert not measured.pool.running
    assert not measured.pool.threadpool.started


@pytest_twisted.ensureDeferred
async def test_a_pool_that_is_closed_shows_none(make: Make) -> None:
    """Nothing is open any more, and work that it is given then never runs, as it never did."""
    measured = make()
    await measured.pool.runQuery("SELECT 1")
    measured.pool.close()
    never = measured.pool.runQuery("SELECT 1")
    read = measured.read()
    assert (read["connections"], read["threads"], read["queue"]) == (0, 0, 0)
    assert measured.counts()["run"] == 1
    assert not never.called


@pytest_twisted.ensureDeferred
async def test_a_pool_that_was_given_new_threads_is_measured_on(make: Make) -> None:
    """An application that opens a closed pool again gives it new threads; they are found at the next report."""
    measured = make()
    await measured.pool.runQuery("SELECT 1")
    measured.pool.close()
    measured.pool.threadpool = ThreadPool(1, 3)
    measured.pool.start()
    assert measured.read()["max"] == 3
    await measured.pool.runQuery("SELECT 1")
    assert measured.counts() == {"run": 2, "wait": 2, "commits": 2, "rollbacks": 0}
    measured.service.stopService()
    assert "callInThreadWithCallback" not in vars(measured.pool.threadpool)


@pytest_twisted.ensureDeferred
async def test_a_service_that_has_stopped_leaves_the_pool_as_it_was(make: Make) -> None:
    """Exactly, also its threads; started again, it counts each unit once."""
    measured = make()
    measured.service.startService()
    await measured.pool.runQuery("SELECT 1")
    assert vars(measured.pool) != measured.before
    for _ in range(2):
        measured.service.stopService()
        assert vars(measured.pool) == measured.before
        assert vars(measured.pool.threadpool) == measured.threads_before
    await measured.pool.runQuery("SELECT 1")
    measured.service.startService()
    await measured.pool.runQuery("SELECT 1")
    assert measured.counts() == {"run": 2, "wait": 2, "commits": 2, "rollbacks": 0}


@pytest_twisted.ensureDeferred
async def test_its_threads_may_be_measured_as_well(make: Make) -> None:
    """By a service of their own; neither disturbs the other, whichever stops first."""
    measured = make()
    threads = MeasuredThreadPool(measured.registry, "threads", measured.pool.threadpool)
    threads.startService()
    await fails(measured.pool.runQuery("SELECT * FROM nowhere"))
    assert measured.counts() == {"run": 1, "wait": 1, "commits": 0, "rollbacks": 1, "OperationalError": 1}
    measured.registry.snapshot()
    assert measured.registry.read("threads.run")["count"] == 1
    assert measured.registry.read("threads.errors")["count"] == 1
    measured.service.stopService()
    threads.stopService()
    assert vars(measured.pool.threadpool) == measured.threads_before
