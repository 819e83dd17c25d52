"""The pieces of work whose instructions are counted: ``python -m tests.costs.work``, watched by valgrind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from timeit import Timer

from benchmarks import request, valgrind
from benchmarks.costs.operations import EMPTY, PIECE, REFERENCE, Operation, of_txmetrics
from txmetrics import MetricsRegistry
from txmetrics.wire import Graphite

INCLUDED, REPORT, BARE, MEASURED = "a value, included", "a value of a report", "a bare request", "a measured request"
BY_TAGS, TAGGED_REPORT = "counter by tags", "a value of a report with tags"

VALUES_A_TIMER = 20


def operations() -> Iterator[tuple[str, Callable[[int], object], int]]:
    """The calls, each in timeit's loop."""
    code = 'registry.counter("jobs", queue="mail").inc()'
    by_tags = Operation(BY_TAGS, "txmetrics", code, {"registry": MetricsRegistry()})
    for operation in (EMPTY, REFERENCE, *of_txmetrics(), by_tags):
        timer = Timer(operation.code, globals=operation.names)
        for _ in range(3):  # so that the interpreter has specialised it
            timer.timeit(PIECE)
        if operation.before is not None:
            operation.before()
        yield operation.what, timer.timeit, PIECE // 2


def included(values: int) -> Callable[[int], None]:
    """So many values into a timer, and a reading of their interval."""
    registry = MetricsRegistry()
    add, reader = registry.timer("db.query").add, registry.reader()
    told = [0.001 + 1e-6 * (n * 7919 % values) for n in range(values)]

    def work(often: int) -> None:
        for _ in range(often):
            for value in told:
                add(value)
            for reading in reader.collect():
                reading.numbers()

    return work


def report(between: str = "") -> tuple[Callable[[int], None], int]:
    """Collecting and encoding a registry with something of everything, and how many values that are.

    With ``;n=`` ``between`` a name and its number that is a tag.
    """
    registry = MetricsRegistry()
    reader, wire = registry.reader(), Graphite("web.host1")
    counters = [registry.counter(f"app.counter{between}{n}") for n in range(200)]
    gauges = [registry.gauge(f"app.gauge{between}{n}") for n in range(100)]
    meters = [registry.meter(f"app.meter{between}{n}") for n in range(20)]
    timers = [registry.timer(f"app.timer{between}{n}") for n in range(35)]
    values = len(counters) + len(gauges) + 5 * len(meters) + 16 * len(timers)

    def work(often: int) -> None:
        for _ in range(often):
            for number, counter in enumerate(counters):
                counter.inc(number)
            for number, gauge in enumerate(gauges):
                gauge.set(number / 7)
            for timer in timers:
                for number in range(VALUES_A_TIMER):
                    timer.add(0.001 + 1e-5 * (number * 13 % VALUES_A_TIMER))
            encoder = wire.encoder(1_000_000_000)
            for reading in reader.collect():
                encoder.add(reading)
            encoder.finish()

    return work, values


def main() -> None:
    for name, work, often in operations():
        valgrind.tell(name, work, often)
    for name, work, units in (
        (INCLUDED, included(1000), 1000),
        (REPORT, *report("_n_")),
        (TAGGED_REPORT, *report(";n=")),
    ):
        work(4)
        valgrind.tell(name, lambda often, work=work, units=units: work(often // units), 2 * units)
    for name, how in ((BARE, request.BARE), (MEASURED, "TimedResource")):
        valgrind.tell(name, request.Server("hello world", how).ask, 256)


if __name__ == "__main__":
    main()
