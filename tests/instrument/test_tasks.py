"""Tasks: what is in flight, and for how long."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.strict import Logged
from txmetrics import MetricsRegistry, timed
from txmetrics.instrument import Tasks
from txmetrics.testing import FakeReactor


@pytest.fixture
def tasks(registry: MetricsRegistry) -> Tasks:
    return Tasks(registry)


def told(registry: MetricsRegistry, task: str) -> dict[str, Any]:
    """What a reporter would tell of it: sum of the timer, counts and values, without those that are 0."""
    flat = {}
    for reading in registry.snapshot():
        name, found = reading.name.removeprefix("tasks."), reading.fields()
        if name.split(".")[0] == task:
            flat[name.removeprefix(f"{task}.")] = found.get("sum", found.get("value", found.get("count")))
    return {name: value for name, value in flat.items() if value}


def test_a_block_is_in_flight_until_it_ends(reactor: FakeReactor, registry: MetricsRegistry, tasks: Tasks) -> None:
    """Its age is told at each report, its duration once."""
    with tasks.run("import"):
        reactor.advance(2)
        assert told(registry, "import") == {"active": 1, "oldest_seconds": 2}
        reactor.advance(3)
        assert told(registry, "import") == {"active": 1, "oldest_seconds": 5}
    assert told(registry, "import") == {"import": 5, "ok": 1}


@pytest.mark.parametrize(
    ("error", "where"), [(CancelledError(), "cancelled"), (ArithmeticError("on purpose"), "errors.ArithmeticError")]
)
def test_a_block_that_raises_is_counted_by_its_error(
    registry: MetricsRegistry, tasks: Tasks, error: Exception, where: str
) -> None:
    """Which goes on as it is."""
    with pytest.raises(type(error)) as raised, tasks.run("import"):
        raise error
    assert raised.value is error
    assert told(registry, "import") == {where: 1}


def test_a_block_may_await(reactor: FakeReactor, registry: MetricsRegistry, tasks: Tasks) -> None:
    """Several runs of it are in flight at once, each with its own age."""

    async def work() -> None:
        with tasks.run("import"):
            await deferLater(reactor, 5, lambda: None)

    for _ in range(3):
        Deferred.fromCoroutine(work())
        reactor.advance(1)
    assert told(registry, "import") == {"active": 3, "oldest_seconds": 3}
    reactor.pump([2, 0.5])
    assert told(registry, "import") == {"active": 2, "oldest_seconds": 4.5, "import": 5, "ok": 1}
    reactor.pump([0.5, 1])
    assert told(registry, "import") == {"import": 15, "ok": 3}


def test_a_deferred_is_in_flight_until_it_has_a_result(
    reactor: FakeReactor, registry: MetricsRegistry, tasks: Tasks
) -> None:
    """The same Deferred comes back, and its result or Failure goes through."""
    deferreds: list[Deferred[Any]] = [Deferred(), Deferred()]
    found: list[Any] = []
    for deferred in deferreds:
        assert tasks.watch(deferred, "import") is deferred
        deferred.addBoth(found.append)
        reactor.advance(1)
    assert told(registry, "import") == {"active": 2, "oldest_seconds": 2}
    failure = Failure(ArithmeticError("on purpose"))
    deferreds[0].errback(failure)
    assert told(registry, "import") == {"active": 1, "oldest_seconds": 1, "import": 2, "errors.ArithmeticError": 1}
    result = object()
    deferreds[1].callback(result)
    assert found[0] is failure
    assert found[1] is result


def test_a_deferred_that_is_lost_is_forgotten(registry: MetricsRegistry, tasks: Tasks) -> None:
    """It can have no result any more."""
    tasks.watch(Deferred(), "import")
    gc.collect()
    assert told(registry, "import") == {}
    assert tasks.in_flight() == []


def test_the_oldest_tasks_are_listed(reactor: FakeReactor, tasks: Tasks) -> None:
    """Over all names, the oldest first, and no more than were asked for."""
    kept = []
    for name in ("import", "export", "import", "a b"):
        kept.append(tasks.watch(Deferred(), name))
        reactor.advance(1)
    assert tasks.in_flight() == [("import", 4), ("export", 3), ("import", 2), ("a_b", 1)]
    assert tasks.in_flight(2) == [("import", 4), ("export", 3)]


def test_a_hundred_thousand_names_are_few_series(registry: MetricsRegistry, tasks: Tasks) -> None:
    """The others share one, and their sum is right."""
    for number in range(1000):
        with tasks.run(f"import of file {number}"):
            """It ends at once."""
    names = {reading.name for reading in registry.snapshot()}
    assert len({name.split(".")[1] for name in names}) == 201
    assert told(registry, "_other") == {"ok": 800}
    assert told(registry, "import_of_file_0") == {"ok": 1}


def test_a_name_that_is_taken_costs_only_the_numbers(registry: MetricsRegistry, tasks: Tasks, logged: Logged) -> None:
    """The task runs, and the log hears of it once."""
    registry.counter("tasks.import")
    for _ in range(2):
        with tasks.run("import"):
            """It ends at once."""
    assert told(registry, "import") == {}
    (failure,) = logged.flush(ValueError)
    assert "tasks.import" in failure.getErrorMessage()
    with tasks.run("export"):
        """It ends at once."""
    assert told(registry, "export") == {"ok": 1}


def test_two_of_them_and_timed_functions_share_what_has_one_name(registry: MetricsRegistry, tasks: Tasks) -> None:
    """The same work may be a function here and a block there."""
    with tasks.run("import"), Tasks(registry.scope("tasks.x")).run("y"), Tasks(registry).run("import"):
        timed(registry, "tasks.import")(lambda: None)()
        assert told(registry, "import") == {"active": 2, "ok": 1}
        assert told(registry, "x") == {"tasks.y.active": 1}
    assert told(registry, "import") == {"ok": 3}


def test_many_in_flight_cost_little_each(registry: MetricsRegistry, tasks: Tasks) -> None:
    """Starts and ends in any order leave nothing."""
    running = [tasks.watch(Deferred(), "import") for _ in range(10_000)]
    assert told(registry, "import") == {"active": 10_000}
    for deferred in running[::2] + running[1::2]:
        deferred.callback(None)
    assert told(registry, "import") == {"ok": 10_000}
