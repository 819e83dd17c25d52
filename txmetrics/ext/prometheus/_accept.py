"""What a scraper would like to have: the format by its Accept header, the encoding by its Accept-Encoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from twisted.web.iweb import IRequest

__all__ = ["OPEN_METRICS", "PROTOBUF", "TEXT", "Wish", "wants_gzip", "wish_of"]

TEXT, OPEN_METRICS, PROTOBUF = "text", "openmetrics", "protobuf"

_TYPES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "text/plain": (TEXT, {"version": "0.0.4"}),
    "text/*": (TEXT, {}),
    "*/*": (TEXT, {}),
    "application/openmetrics-text": (OPEN_METRICS, {"version": "1.0.0"}),
    "application/vnd.google.protobuf": (
        PROTOBUF,
        {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"},
    ),
}
"""By type: the format, and what parameters it must have if it has them. Protobuf must have them."""


class Wish(NamedTuple):
    """What to answer with."""

    format: str
    """TEXT, OPEN_METRICS or PROTOBUF."""
    parameters: str
    """What the scraper wants to be told besides, for the end of the answer's Content-Type."""


class _Range(NamedTuple):
    """One of the things that a header lists."""

    what: str
    parameters: Mapping[str, str]
    quality: float


def wish_of(request: IRequest) -> Wish:
    """The format that the request would like best; text 0.0.4 if it likes none or says nothing.

    A more specific range overrules a less specific one: ``text/plain;q=0, */*`` does not like text. Of those that it
    likes as much, the first.
    """
    liked: dict[str, tuple[float, int, Wish]] = {}
    for range_ in sorted(_ranges(request, "accept"), key=lambda each: each.what.count("*")):
        format = _format(range_)
        specific = -range_.what.count("*")
        if format is not None and (format not in liked or _better(range_, specific, liked[format])):
            escaping = "; escaping=underscores" if "escaping" in range_.parameters else ""
            liked[format] = range_.quality, specific, Wish(format, escaping)
    best = max(liked.values(), key=lambda each: each[0], default=None)
    return best[2] if best is not None and best[0] > 0 else Wish(TEXT, "")


def _better(range_: _Range, specific: int, other: tuple[float, int, Wish]) -> bool:
    """The same type may be listed twice, in two versions that we write the same."""
    return specific == other[1] and range_.quality > other[0]


def _format(range_: _Range) -> str | None:
    format, parameters = _TYPES.get(range_.what, (None, {}))
    given = range_.parameters
    default = {} if format == PROTOBUF else parameters
    fits = all(given.get(name, default.get(name)) == value for name, value in parameters.items())
    return format if fits else None


def wants_gzip(request: IRequest) -> bool:
    """Whether gzip is welcome, and no less than no encoding at all."""
    qualities = {range_.what: range_.quality for range_ in _ranges(request, "accept-encoding")}
    gzip = qualities.get("gzip", qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _ranges(request: IRequest, header: str) -> list[_Range]:
    """All that a header lists, in its order; what is no quality counts as none at all."""
    lines = request.requestHeaders.getRawHeaders(header.encode()) or []
    # Whatever bytes these are; a client must not be able to raise an error.
    return [_range(part) for line in lines for part in line.decode("latin-1").split(",") if part.strip()]


def _range(text: str) -> _Range:
    what, *rest = text.split(";")
    parameters = {}
    for each in rest:
        name, _, value = each.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    try:
        quality = float(parameters.pop("q", 1.0))
    except ValueError:
        quality = 0.0
    return _Range(what.strip().lower(), parameters, quality if 0 <= quality <= 1 else 0.0)
