"""One path, one line: whatever is registered, and whenever, no report has two lines for one path, in any dialect."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.delivery.network import Pipe
from tests.strict import Logged
from tests.wire.report import encode
from txmetrics import backends
from txmetrics.names import OWN
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import STOP
from txmetrics.snapshot import (
    FIELDS,
    CounterReading,
    GaugeReading,
    HistogramReading,
    MeterReading,
    Reading,
    TimerReading,
)
from txmetrics.testing import FakeReactor, GraphiteReceiver
from txmetrics.wire import Graphite
from txmetrics.wire._dialects import DIALECTS

READINGS: dict[str, type] = {
    "counter": CounterReading,
    "gauge": GaugeReading,
    "histogram": HistogramReading,
    "meter": MeterReading,
    "timer": TimerReading,
}

NAMES = ["a", "a.count", "a.max", "a.m1_rate", "a.refused", "a.value", "a.avg", "a.count.count", "a.max.count", "b.a"]


def _make(registry: MetricsRegistry, kind: str, name: str) -> None:
    """A metric that has every field of its kind."""
    metric: Any = getattr(registry, kind)(name)
    if kind in ("histogram", "timer"):
        metric.add(1.0)
        metric.add(math.nan)


def _paths(readings: Iterable[Reading], dialect: str) -> list[str]:
    """The paths of a report, one a line."""
    chunks, refused = encode(readings, Graphite(dialect=dialect))
    assert not refused
    return [line.split()[0].decode() for chunk in chunks for line in chunk.data.splitlines()]


# What the registry knows of the wire


@pytest.mark.parametrize("dialect", DIALECTS)
def test_only_a_gauge_can_be_another_metrics_field(dialect: str) -> None:
    """What the registry relies on: fields have no dots, and where one kind is a bare name, the others' are FIELDS."""
    table = DIALECTS[dialect]
    assert set(table) == set(READINGS.values()) == set(FIELDS)
    assert not any("." in name for fields in table.values() for name in fields.values())
    bare = {kind for kind, fields in table.items() if "" in fields.values()}
    assert bare <= {GaugeReading}
    for kind, fields in table.items():
        assert len(set(fields.values())) == len(fields)
        assert set(fields) <= set(FIELDS[kind])
        if bare and kind not in bare:
            assert set(fields.values()) <= set(FIELDS[kind])


@pytest.mark.parametrize("kind", READINGS)
def test_the_fields_are_those_of_the_readings(kind: str) -> None:
    """All of them, in their order, in the reading of a metric that has every one."""
    registry = MetricsRegistry(FakeReactor().clock)
    _make(registry, kind, "a")
    (reading,) = registry.snapshot()
    assert type(reading) is READINGS[kind]
    assert tuple(reading.fields()) == FIELDS[READINGS[kind]]


# At the door


def _written(kind: str, name: str, dialect: str) -> set[str]:
    """Every path that a metric may be written under."""
    fields = DIALECTS[dialect][READINGS[kind]].values()
    return {f"{name}.{field}" if field else name for field in fields}


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(sorted(READINGS)), st.sampled_from(NAMES)), max_size=12))
def test_a_name_is_refused_if_and_only_if_a_line_is_taken(wanted: list[tuple[str, str]]) -> None:
    """Whichever of the two comes first; and nothing is refused that has all its lines to itself."""
    registry = MetricsRegistry(FakeReactor().clock)
    there: dict[str, str] = {}
    for kind, name in wanted:
        free = there.get(name, kind) == kind and not any(
            _written(kind, name, dialect) & _written(other, others, dialect)
            for dialect in DIALECTS
            for others, other in there.items()
            if others != name
        )
        if free:
            _make(registry, kind, name)
            there[name] = kind
        else:
            with pytest.raises(ValueError, match="choose another name"):
                _make(registry, kind, name)
    for dialect in DIALECTS:
        paths = _paths(registry.collect(), dialect)
        assert len(set(paths)) == len(paths)
    assert {reading.name for reading in registry.collect()} == set(there)


# In a report

few_names = st.sampled_from(["a", "a.count", "a.max"])

steps = st.one_of(
    st.tuples(st.sampled_from(["counter", "gauge", "histogram"]), few_names),
    st.tuples(st.just("unregister"), few_names),
    st.tuples(st.sampled_from(["begin", "read"]), st.just("")),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(steps, max_size=30))
@example(
    [
        ("gauge", "a.max"),
        ("counter", "a"),
        ("begin", ""),
        ("read", ""),
        ("unregister", "a.max"),
        ("unregister", "a"),
        ("histogram", "a"),
        ("read", ""),
    ]
)
def test_no_report_has_two_lines_for_one_path(steps: list[tuple[str, str]]) -> None:
    """Also where metrics come, go and come back as something else while it is being collected."""
    registry = MetricsRegistry(FakeReactor().clock)
    reports: list[tuple[Any, list[Reading]]] = []
    for step, name in steps:
        if step == "begin":
            source = registry if len(reports) % 2 else registry.reader()
            reports.append((source.collect(), []))
        elif step == "read":
            for readings, told in reports:
                told += [reading for reading in [next(readings, None)] if reading is not None]
        else:
            try:
                registry.unregister(name) if step == "unregister" else _make(registry, step, name)
            except (KeyError, ValueError):
                continue  # it is not there, or may not be
    for readings, told in reports:
        for dialect in DIALECTS:
            paths = _paths([*told, *readings], dialect)
            assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_reporters_own_lines_are_nobody_elses(dialect: str, logged: Logged) -> None:
    """It reports itself under a name that no registry gives to a metric, and never one line twice."""
    reactor, graphite = FakeReactor(), GraphiteReceiver()
    registry = MetricsRegistry(reactor.clock)
    for kind in READINGS:
        _make(registry, kind, f"some.{kind}")
        with pytest.raises(ValueError, match="belongs to the reporter"):
            _make(registry, kind, f"{OWN}.{kind}")
    registry.gauge("text").set("text")
    registry.gauge("broken", lambda: 1 / 0)
    reporter = backends.graphite(registry, "tcp:h:1", dialect=dialect, reactor=reactor)
    reporter.startService()
    client = reactor.tcpClients[-1][2].buildProtocol(None)
    client.makeConnection(Pipe(reactor, client, graphite.buildProtocol(None)))
    for _ in range(100):
        reactor.advance(0.5)
    reporter.stopService()
    reactor.advance(STOP + 1)
    assert len({point.timestamp for point in graphite.points}) >= 5
    assert {name.split(".")[0] for name in graphite.names()} == {"some", OWN}
    assert f"{OWN}.values_refused.value.count" in graphite.names()
    lines = [(point.name, point.timestamp) for point in graphite.points]
    assert len(set(lines)) == len(lines)
    assert len(logged.flush(ZeroDivisionError)) == 1
