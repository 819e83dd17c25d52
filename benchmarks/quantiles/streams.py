"""The values of which percentiles are told: ordinary ones, and some that are as bad as can be for one way of telling.

Most stand for durations in seconds. A stream is made of a random generator and the number of values, so that the same
seed makes the same values.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from math import ldexp, nextafter
from random import Random
from typing import NamedTuple

__all__ = ["LOGNORMAL", "PROMETHEUS_BOUNDS", "SMALL_INTEGERS", "STREAMS", "Stream"]

LOGNORMAL, SMALL_INTEGERS, EDGES = "lognormal", "integers 0..256", "bucket edges"
MINUTE = 60

PROMETHEUS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
GAMMA = 1.01 / 0.99
"""Of a sketch that is accurate to 1 %, each bucket ends so many times higher than the one before."""


class Stream(NamedTuple):
    """Makes values, which arrive in a minute; the share ``late`` of them in its last second."""

    name: str
    make: Callable[[Random, int], Iterator[float]]
    late: float = 1 / MINUTE
    unit: float = 1e-6
    """What is counted in by those who take integers only."""

    def values(self, random: Random, count: int) -> array[float]:
        """So many of them, as doubles, because ten million objects are a lot of memory."""
        return array("d", self.make(random, count))

    def by_second(self, values: array[float]) -> Iterator[array[float]]:
        """The values that arrive in each second of the minute."""
        steady, seconds = len(values) - round(self.late * len(values)), MINUTE - 1
        for second in range(seconds):
            yield values[second * steady // seconds : (second + 1) * steady // seconds]
        yield values[steady:]


def lognormal(random: Random, count: int) -> Iterator[float]:
    """Around 7 ms, one in a hundred more than 70 ms."""
    return (random.lognormvariate(-5, 1) for _ in range(count))


def bimodal(random: Random, count: int) -> Iterator[float]:
    """From a cache, around 1 ms, or one in ten from elsewhere, around 100 ms."""
    means = [-6.9] * 9 + [-2.3]
    return (random.lognormvariate(random.choice(means), 0.2) for _ in range(count))


def constant(random: Random, count: int) -> Iterator[float]:
    return (0.0123 for _ in range(count))


def ascending(random: Random, count: int) -> Iterator[float]:
    return iter(sorted(lognormal(random, count)))


def wide(random: Random, count: int) -> Iterator[float]:
    """From 1e-9 to 1e4, more of the small ones, so that the percentiles are spread over much of that."""
    return (10 ** (13 * random.random() ** 3 - 9) for _ in range(count))


def burst(random: Random, count: int) -> Iterator[float]:
    """The last 4 in a hundred ten times as large."""
    steady = count - round(0.04 * count)
    return (value if number < steady else 10 * value for number, value in enumerate(lognormal(random, count)))


def small_integers(random: Random, count: int) -> Iterator[float]:
    return (float(random.randint(0, 256)) for _ in range(count))


def edges_of_txmetrics(random: Random, count: int) -> Iterator[float]:
    """Between the two buckets that are the farthest apart in relation to their values, on either side."""
    edge = 1 + 1 / 256
    sides = edge, nextafter(edge, 0)
    return (ldexp(random.choice(sides), random.randint(-20, 3)) for _ in range(count))


def edges_of_ddsketch(random: Random, count: int) -> Iterator[float]:
    sides = 1 - 1e-9, 1 + 1e-9
    return (random.choice(sides) * GAMMA ** random.randint(-400, 200) for _ in range(count))


def edges_of_hdrhistogram(random: Random, count: int) -> Iterator[float]:
    """Powers of two, in its unit: it tells the end of a bucket, and these are where the widest of them begin."""
    return (1e-6 * 2 ** random.randint(8, 23) for _ in range(count))


def edges_of_prometheus(random: Random, count: int) -> Iterator[float]:
    """A little above the bounds."""
    return (1.001 * random.choice(PROMETHEUS_BOUNDS) for _ in range(count))


STREAMS = (
    Stream(LOGNORMAL, lognormal),
    Stream("bimodal", bimodal),
    Stream("constant", constant),
    Stream("ascending", ascending),
    Stream("1e-9..1e4", wide),
    Stream("burst at the end", burst, late=0.04),
    Stream(EDGES, edges_of_txmetrics),
    Stream(EDGES, edges_of_ddsketch),
    Stream(EDGES, edges_of_hdrhistogram),
    Stream(EDGES, edges_of_prometheus),
    Stream(SMALL_INTEGERS, small_integers, unit=1.0),
)
"""Those of the same name are shown as one, by the worst of them."""
