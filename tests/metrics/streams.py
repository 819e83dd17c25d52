"""Streams of values for histograms, and the plain truth about them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from hypothesis import strategies as st

from txmetrics.metrics import Histogram
from txmetrics.snapshot import Distribution

PERMILLES = (0, 1, 10, 250, 500, 750, 900, 950, 980, 990, 999, 1000)
"""The quantiles that are compared, in thousandths."""

ERROR = 0.005
"""What a quantile may be off, relative to the true order statistic."""

SUBNORMAL = 1e-309
"""Doubles this small have no eight significant bits; they may be off by as much."""

LARGE = 20_000


def filled(values: Iterable[float]) -> Histogram:
    """A histogram that has seen ``values``."""
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def order_statistic(ascending: Sequence[float], permille: int) -> float:
    """The nearest rank: the smallest value that at least so many thousandths of all do not exceed."""
    rank = max(1, math.ceil(Fraction(permille, 1000) * len(ascending)))
    return ascending[rank - 1]


def worst_error(spread: Distribution, values: Iterable[float]) -> float:
    """By how much the worst of all compared quantiles is off, relative to the truth."""
    ascending = sorted(values)
    errors = []
    for permille in PERMILLES:
        true = order_statistic(ascending, permille)
        off = abs(spread.quantile(permille / 1000) - true)
        errors.append(0.0 if off <= SUBNORMAL else off / abs(true) if true else math.inf)
    return max(errors)


MAGNITUDES = (
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
    | st.floats(min_value=1e-9, max_value=1e12)
    | st.integers(-300, 300).map(float)
    | st.sampled_from([0.0, -0.0, 1e-300, -1e-300, 1e300, -1e300, 5e-324, 0.1, 1e16, 255.0, 256.0, 257.0])
)
"""Doubles of every size and sign, with those that people really measure among them."""

MODEST = st.lists(MAGNITUDES, min_size=1, max_size=60)


@st.composite
def any_size(draw: st.DrawFn) -> list[float]:
    """Up to a few thousand values; the long ones repeat themselves, slightly changed, in another order."""
    some = draw(MODEST)
    times = draw(st.sampled_from([1, 1, 7, 60]))
    rng = random.Random(draw(st.integers(0, 2**32)))
    values = [value if n == 0 else value * rng.uniform(0.5, 1) for n in range(times) for value in some]
    rng.shuffle(values)
    return values


def _log_uniform(rng: random.Random) -> float:
    return rng.choice((-1, 1)) * 10 ** rng.uniform(-300, 300)


SHAPES: dict[str, Callable[[random.Random], float]] = {
    "lognormal": lambda rng: rng.lognormvariate(-4, 2),
    "pareto": lambda rng: rng.paretovariate(0.8),
    "bimodal": lambda rng: rng.gauss(0.002, 0.0001) if rng.random() < 0.95 else rng.gauss(5, 0.2),
    "exponential": lambda rng: rng.expovariate(1000),
    "both signs": lambda rng: rng.gauss(0, 1e6),
    "negative": lambda rng: -rng.lognormvariate(10, 3),
    "mostly zero": lambda rng: 0.0 if rng.random() < 0.7 else rng.random(),
    "every magnitude": _log_uniform,
    "nanoseconds to terabytes": lambda rng: 10 ** rng.uniform(-9, 12),
    "times of day": lambda rng: 1_700_000_000 + rng.random() * 10,
    "integers": lambda rng: rng.randrange(100_000),
    "one value": lambda rng: 0.1,
}


def large(shape: str) -> list[float]:
    """LARGE values of that shape, always the same ones."""
    rng = random.Random(shape)
    return [SHAPES[shape](rng) for _ in range(LARGE)]
