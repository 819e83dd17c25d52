"""A real carbon-cache stores what the wires write, over each of its ports, under the names that were meant."""

from __future__ import annotations

import math
import socket
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.carbon import HOST, Carbon
from tests.wire import hostile
from tests.wire.everything import PLACES
from tests.wire.test_graphite import INJECTIONS, NO_PATHS
from txmetrics.names import check
from txmetrics.snapshot import CounterReading, GaugeReading, Reading
from txmetrics.wire import Graphite, Pickle

PORTS = {Graphite: "line_port", Pickle: "pickle_port"}

wires = pytest.mark.parametrize("wire", PORTS, ids=PORTS.values())


def _send(carbon: Carbon, wire: Any, readings: list[Reading], stamp: int) -> dict[str, int]:
    """Report ``readings`` over one connection, until carbon has read all; how many were refused, by reason."""
    encoder = wire.encoder(stamp)
    with socket.create_connection((HOST, getattr(carbon, PORTS[type(wire)])), 5) as connection:
        for reading in readings:
            if (chunk := encoder.add(reading)) is not None:
                connection.sendall(chunk.data)
        if (chunk := encoder.finish()) is not None:
            connection.sendall(chunk.data)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""  # had carbon hung up before the end, this would be a reset
    return dict(encoder.refused)


def _stored(carbon: Carbon, prefix: str) -> set[str]:
    return {name for name in carbon.names() if name.startswith(prefix)}


@wires
def test_every_name_that_the_door_lets_in_is_stored(carbon: Carbon, prefix: str, wire: Any) -> None:
    """Each character in each place, and the longest parts and names: a file each, with its own number in it."""
    names = [check(place.format(each)) for each in sorted(hostile.ALPHABET - {"."}) for place in PLACES]
    names += [check(name) for name in ("0.x", "-1.x", "1e5.x", "nan.x", "%s.x", "#.x", "y" * 120, hostile.LONGEST)]
    now = int(time.time())
    readings: list[Reading] = [GaugeReading(name, n) for n, name in enumerate(names)]
    assert _send(carbon, wire(prefix), readings, now) == {}
    expected = {f"{prefix}.{name}": {now: float(n)} for n, name in enumerate(names)}
    carbon.wait_for(lambda: _stored(carbon, prefix) == set(expected))
    carbon.wait_for(lambda: {name: carbon.stored(name) for name in expected} == expected)


@wires
def test_what_is_hostile_reaches_no_disk(carbon: Carbon, prefix: str, wire: Any) -> None:
    """Of names and values of every bad kind nothing is stored; what stands among them is."""
    values = [math.nan, math.inf, -math.inf, 10**400, Decimal("1e400"), "1", "1 1\nevil 1", b"1", None, 1j, object()]
    values += [hostile.Scalar(RuntimeError), hostile.Scalar("1"), hostile.Untouchable(), hostile.Pretender(float)]
    strange = {
        "bool": (True, 1.0),
        "decimal": (Decimal("0.1"), 0.1),
        "huge": (10**308, 1e308),
        "least": (5e-324, 5e-324),
        "odd": (hostile.OddFloat(3.5), 7.0),
        "scalar": (hostile.Scalar(2.5), 2.5),
    }
    bad = [*INJECTIONS, *NO_PATHS]
    readings: list[Reading] = []
    for n, name in enumerate(bad):
        readings += [CounterReading(name, 1), GaugeReading(name, 1), CounterReading(f"good{n}", n)]
    readings += [GaugeReading(f"value{n}", value) for n, value in enumerate(values)]
    readings += [GaugeReading(name, value) for name, (value, _) in strange.items()]
    now = int(time.time())
    assert _send(carbon, wire(prefix), readings, now) == {"name": 2 * len(bad), "value": len(values)}
    expected = {f"{prefix}.{name}": {now: value} for name, (_, value) in strange.items()}
    expected |= {f"{prefix}.good{n}.count": {now: float(n)} for n in range(len(bad))}
    carbon.wait_for(lambda: {name: carbon.stored(name) for name in expected} == expected)
    assert _stored(carbon, prefix) == set(expected)
    assert not any("evil" in name for name in carbon.names())
