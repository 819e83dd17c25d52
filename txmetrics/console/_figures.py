"""Numbers for people: as many digits as one can read at a glance, with their unit; ``-`` is what is unknown."""

from __future__ import annotations

__all__ = ["count", "duration", "in_unit", "rate", "several", "share", "span"]

UNKNOWN = "-"


def count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def several(number: int, what: str) -> str:
    """So many of ``what``, in the singular or with an s."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def rate(value: float | None) -> str:
    """Of something a second."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{1 if abs(value) >= 10 else 2}f}"


def share(value: float | None) -> str:
    """Of 1, in per cent."""
    return UNKNOWN if value is None else f"{100 * value:.{0 if abs(value) >= 0.0995 else 1}f} %"


def duration(seconds: float | None) -> str:
    """Of a request, say: three digits in seconds, milliseconds or microseconds."""
    if seconds is None:
        return UNKNOWN
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if abs(seconds * factor) >= 0.9995:
            return f"{_three(seconds * factor)} {unit}"
    return "0 s" if seconds == 0 else f"{_three(seconds * 1e6)} us"


def span(seconds: float | None) -> str:
    """Of a life, say: its two largest units."""
    if seconds is None:
        return UNKNOWN
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, size)
        if number or parts or unit == "s":
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def in_unit(value: float | None, unit: str) -> str:
    """A number whose unit is told in the dashboard's words."""
    form = {"1/s": rate, "share": share, "seconds": duration}.get(unit)
    if form is not None:
        return form(value)
    if value is None:
        return UNKNOWN
    return count(value) if value == int(value) else rate(value)


def _three(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.{1 if abs(value) >= 9.995 else 2}f}"
