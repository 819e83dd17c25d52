"""Readings that hold anything at all: whatever a gauge may return, and names that no registry would let in."""

from __future__ import annotations

import datetime
import math
import string
from decimal import Decimal
from fractions import Fraction
from sys import float_info
from typing import Any

from hypothesis import strategies as st

from txmetrics.snapshot import (
    CounterReading,
    Distribution,
    GaugeReading,
    HistogramReading,
    MeterReading,
    Reading,
    TimerReading,
    Unreadable,
)
from txmetrics.wire._dialects import DIALECTS, DIGITS, STATISTICS

ALPHABET = frozenset(string.ascii_letters + string.digits + "_:%@#+-.")

LONGEST = ("n" * 120 + ".") * 8 + "n" * 56

LONGEST_TAGGED = f"{LONGEST[: 1024 - 3 * 123]};a={'v' * 120};b={'v' * 120};c={'v' * 120}"

DURATIONS = frozenset({"sum", "max", "mean", "min", "stddev", "p50", "p75", "p95", "p98", "p99", "p999"})


class Scalar:
    """A number as numpy makes them: it converts to a float, and its arithmetic is its own."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __float__(self) -> Any:
        if isinstance(self._value, type):
            raise self._value  # a new exception each time: one that is kept keeps the traceback and all in it
        return self._value

    def __mul__(self, other: object) -> Scalar:
        return self

    __rmul__ = __mul__

    def __str__(self) -> str:
        return "1 1\nevil.name 1"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return str(self)


class OddFloat(float):
    """A float that writes itself in its own way."""

    def __repr__(self) -> str:
        return "1 1\nevil.name 1"

    __str__ = __repr__

    def __float__(self) -> float:
        return 7.0


class OddInt(int):
    """An integer that does so."""

    def __repr__(self) -> str:
        return "1 1\nevil.name 1"

    __str__ = __repr__

    def __mul__(self, other: object) -> str:
        return "a string"

    __rmul__ = __mul__


class Pretender:
    """No number at all, though its class says so, as that of a mock with a spec does."""

    def __init__(self, what: type) -> None:
        self._what = what

    @property
    def __class__(self) -> type:
        return self._what


class Untouchable:
    """Answers every question about itself with an error, also those of hypothesis: it is in no strategy."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __bool__(self) -> bool:
        raise RuntimeError

    def __float__(self) -> float:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None


class OddName(str):
    """A string whose text depends on who asks."""

    def __str__(self) -> str:
        return "a 1 1\nevil.name"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return str(self)

    def __add__(self, other: str) -> str:
        return str(self) + other

    __radd__ = __add__

    def __len__(self) -> int:
        return 5


any_float = st.floats(allow_nan=True, allow_infinity=True)

numbers = (
    any_float
    | st.integers()
    | st.integers(-(10**320), 10**320)
    | st.sampled_from([0, -0.0, 10**400, -(10**400), 2**63, 5e-324, float_info.max, -float_info.max, 1e306, math.pi])
)

strange = (
    st.sampled_from([None, True, False, 1j, [], [1.0], (), {}, object(), datetime.timedelta(1), int])
    | st.text(max_size=10)
    | st.sampled_from(["1", " 1 ", "1 2\nevil.name 1", "nan", b"1", bytearray(b"1"), memoryview(b"1")])
    | st.binary(max_size=5)
    | st.decimals()
    | st.sampled_from([Decimal("sNaN"), Decimal("1e400"), Decimal("-Infinity"), Fraction(1, 3), Fraction(10**400)])
    | any_float.map(Scalar)
    | any_float.map(OddFloat)
    | st.integers().map(OddInt)
    | st.sampled_from([Scalar("1"), Scalar(1), Scalar(OddFloat(2)), Scalar(RuntimeError), Scalar(ZeroDivisionError)])
    | st.sampled_from([Pretender(float), Pretender(int), Pretender(str)])
)

values: st.SearchStrategy[Any] = numbers | strange

good_names = st.from_regex(r"[A-Za-z0-9_:%@#+-]{1,12}(\.[A-Za-z0-9_:%@#+-]{1,12}){0,3}", fullmatch=True)

tag_keys = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True) | st.sampled_from(["a", "a1", "ab", "status"])

tag_values = st.text(sorted(ALPHABET), min_size=1, max_size=12) | st.sampled_from(["_other", "%s", "...", "v" * 120])

any_full_names = st.builds(
    lambda path, tags: path + "".join(sorted(f";{key}={value}" for key, value in tags.items())),
    good_names,
    st.dictionaries(tag_keys, tag_values, max_size=3),
)
"""With tags, of which some are called as no tag can be."""

any_tags = st.dictionaries(
    tag_keys.filter(lambda key: not key.startswith("__") and key not in ("name", "le")),
    tag_values | st.text(st.characters(exclude_categories=()), max_size=20),
    max_size=4,
)
"""Called as tags can be, with values from outside."""

nasty_characters = st.sampled_from(list(" \t\n\r\0\x0b\x0c\x1c\x85\xa0\u2028\ufeff\ud800\U0001f600;=~é٣.*?/\\\"'"))

names: st.SearchStrategy[Any] = (
    good_names
    | any_full_names
    | st.text(st.characters(exclude_categories=()), max_size=20)
    | st.lists(good_names | nasty_characters, max_size=5).map("".join)
    | st.sampled_from(
        ["", ".", "..", "a.", ".a", "a..b", " ", "\n", "a 1 1\nevil.name", "a;tag=1", "é" * 120, LONGEST, LONGEST + "n"]
    )
    | st.sampled_from(["a;", "a;b", "a;b=", "a;=c", "a;b=c;", "a;b=c;b=d", "a;b=c;a=d", "a;b=c;d=e", ";b=c", "a;b=c=d"])
    | st.sampled_from(
        ["a;name=b", "a;le=1", "a;__b=c", "a;1=b", "a;b=%s", "a%d;b=%", LONGEST_TAGGED, LONGEST_TAGGED + "v"]
    )
    | st.sampled_from(["x" * 120, "x" * 121, f"a.{'x' * 120}.b", f"a.{'x' * 121}.b", "x" * 1024, "x." * 512 + "x"])
    | st.sampled_from([None, 5, b"bytes", OddName("odd"), Pretender(str), ["a"]])
)

spreads = st.none() | st.builds(
    Distribution,
    st.integers(1, 10**9),
    any_float,
    any_float,
    any_float,
    any_float,
    st.tuples(any_float),
    st.just((10**9,)),
)

kinds = (
    st.builds(CounterReading, names, values),
    st.builds(GaugeReading, names, values),
    st.builds(MeterReading, names, values, values, values, values, values),
    st.builds(HistogramReading, names, values, values, spreads, st.integers(0, 2)),
    st.builds(TimerReading, names, values, values, spreads, values, values, values, values, st.integers(0, 2)),
    st.builds(Unreadable, names, st.just(RuntimeError("gone"))),
)

readings: st.SearchStrategy[Reading] = st.one_of(*kinds)


def is_full(text: str) -> bool:
    """Whether a name may stand in a report: the rule once more."""
    path, *pairs = text.split(";")
    tags = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    longest = len(path) + sum(len(key) + 122 for key in tags)
    return (
        longest <= 1024
        and all(0 < len(part) <= 120 and set(part) <= ALPHABET for part in path.split("."))
        and len(tags) == len(pairs)
        and pairs == sorted(pairs)
        and all(_is_key(key) and 0 < len(value) <= 120 and set(value) <= ALPHABET for key, value in tags.items())
    )


def _is_key(text: str) -> bool:
    return (
        text.isascii() and text.isidentifier() and not text.startswith("__") and text not in ("name", "le", "vmrange")
    )


full_names = any_full_names.filter(is_full)


def written(value: Any, factor: int = 1) -> float | None:
    """The double that a value stands for, None if it is no number that a double can hold: the rule once more."""
    kind = type(value)
    if kind is int:
        value *= factor
        return float(value) if abs(value) <= float_info.max else None
    if issubclass(kind, str | bytes | bytearray):
        return None
    try:
        number = float(value) * factor
    except Exception:
        return None
    return number if math.isfinite(number) else None


def expected(reading: Reading, dialect: str, milliseconds: bool, prefix: str) -> tuple[list[tuple[str, float]], int]:
    """The names and values that a reading should be written down as, and how many of its fields should be refused."""
    if type(reading) is Unreadable:
        return [], 1
    fields = reading.fields()
    table = {field: name for field, name in DIALECTS[dialect][type(reading)].items() if field in fields}
    good = type(reading.name) is str and is_full(reading.name)
    lines = []
    for field, name in table.items():
        number = written(fields[field], 1000 if milliseconds and _is_duration(reading, field) else 1)
        if number is not None and field in STATISTICS[dialect]:
            number = float(f"{number:.{DIGITS}g}")
        if good and number is not None:
            path, *tags = reading.name.split(";")
            lines.append((";".join([f"{prefix}{path}{'.' if name else ''}{name}", *tags]), number))
    return lines, len(table) - len(lines)


def _is_duration(reading: Reading, field: str) -> bool:
    return type(reading) is TimerReading and field in DURATIONS
