"""A gauge shows a value that was set, or asks for it."""

from __future__ import annotations

import pytest

from txmetrics.metrics import Gauge
from txmetrics.snapshot import GaugeReading, Unreadable


def test_a_gauge_shows_what_was_set_last() -> None:
    """Each value replaces the one before; before the first it shows 0."""
    gauge = Gauge()
    assert gauge.value == 0
    gauge.set(3.5)
    gauge.set(-2)
    assert gauge.read("depth") == GaugeReading("depth", -2)
    assert gauge.read("depth").fields() == {"value": gauge.value}


def test_a_callable_is_asked_at_each_reading() -> None:
    """The value is that of the moment, not that of the making."""
    queue: list[int] = []
    gauge = Gauge(lambda: len(queue))
    assert gauge.read("depth").fields() == {"value": 0}
    queue.append(1)
    assert gauge.read("depth").fields() == {"value": 1}
    assert gauge.value == 1


def test_a_set_value_replaces_the_callable() -> None:
    """After `set` the callable is never called again."""
    gauge = Gauge(lambda: pytest.fail("it was called"))
    gauge.set(7)
    assert gauge.value == 7
    assert gauge.read("depth") == GaugeReading("depth", 7)


def test_a_callable_that_raises_makes_an_unreadable() -> None:
    """The error travels in the place of the value, and the next reading asks again."""
    error = RuntimeError("no database")
    answers: list[Exception | int] = [error, 5]

    def tell() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    gauge = Gauge(tell)
    assert gauge.read("pool") == Unreadable("pool", error)
    assert gauge.read("pool") == GaugeReading("pool", 5)


def test_asking_for_the_value_raises_what_the_callable_raises() -> None:
    """The owner of the gauge, unlike a report, gets to see the error."""
    gauge = Gauge(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        _ = gauge.value


def test_an_interrupt_is_no_bad_reading() -> None:
    """What is no Exception (the end of the process) is not swallowed."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Gauge(interrupted).read("pool")


def test_what_cannot_be_called_is_refused_at_once() -> None:
    """A value given in the place of a callable shows at the making, not in every report after it."""
    with pytest.raises(TypeError, match="not by 5"):
        Gauge(5)


def test_any_object_is_shown_unchecked() -> None:
    """Whether a value can be written down is for the wire to say, which counts what it refuses."""
    strange = object()
    assert Gauge(lambda: strange).read("odd").fields() == {"value": strange}


def test_a_gauge_goes_up_and_down() -> None:
    """By one, or by as much as is said; one that is told its value goes on from there, and is set from then on."""
    gauge = Gauge()
    gauge.inc()
    gauge.inc(2.5)
    gauge.dec()
    gauge.dec(0.5)
    assert gauge.value == 2
    told = Gauge(lambda: 7)
    told.inc()
    assert told.value == 8
    assert told.tell is None


def test_what_is_no_number_goes_nowhere() -> None:
    """The gauge keeps what it showed."""
    gauge = Gauge(lambda: "seven")
    with pytest.raises(TypeError):
        gauge.inc()
    assert gauge.value == "seven"


def test_a_gauge_says_who_tells_it() -> None:
    """So that whoever shares it can find them."""
    tell = object().__hash__
    assert Gauge(tell).tell is tell
    assert Gauge().tell is None
