"""Numbers of anybody's making, as a wire may have them."""

from __future__ import annotations

from math import isfinite
from sys import float_info
from typing import Any, TypeAlias

__all__ = ["PLAIN", "VERBATIM", "Number", "decimal", "finite", "number"]

Number: TypeAlias = int | float

PLAIN = frozenset({int, float})

VERBATIM = "%r"

_LARGEST = float_info.max


def finite(values: tuple[Any, ...]) -> bool:
    """Whether all are just floats and integers, as nearly always, and such as a double can hold."""
    try:
        return PLAIN.issuperset(map(type, values)) and isfinite(sum(values))  # which NaN and infinities spoil
    except OverflowError:  # an integer
        return False


def number(value: Any) -> Number | None:
    """``value`` as an int or a float that a double can hold, infinities and NaN included; None if it is neither."""
    kind = type(value)  # not __class__, about which a mock lies
    if kind is float:
        return float(value)
    if kind is int:
        return int(value) if -_LARGEST <= value <= _LARGEST else None
    try:
        return None if issubclass(kind, str | bytes | bytearray) else float(value)  # which would read text
    except Exception:  # whatever somebody else's number may raise
        return None


def decimal(value: object, factor: int, form: str) -> str | None:
    """``value`` times ``factor`` in decimal, None unless that is a finite number that a double can hold."""
    told = number(value)
    if told is None:
        return None
    told *= factor
    if not -_LARGEST <= told <= _LARGEST:
        return None
    return repr(told) if form == VERBATIM else form % told
