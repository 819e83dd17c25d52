"""The text formats: Prometheus' own, version 0.0.4, and OpenMetrics 1.0.0. They differ in a few heads and rules."""

from __future__ import annotations

from math import isfinite

from txmetrics.snapshot import Reading
from txmetrics.wire._numbers import Number
from txmetrics.wire._prometheus_names import escaped
from txmetrics.wire._prometheus_plan import Family
from txmetrics.wire._prometheus_samples import samples, value

__all__ = ["OpenMetrics", "PrometheusText"]


class PrometheusText:
    """Text format 0.0.4."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"
    end = b""
    """What stands behind the last family."""
    _strict = False

    def head(self, family: Family, size: int) -> bytes:
        """What stands before the metrics of ``family``, which are ``size`` bytes together."""
        name = f"{family.name}_total" if family.type == "counter" else family.name
        help = family.help.replace("\\", r"\\").replace("\n", r"\n")
        return f"# HELP {name} {help}\n# TYPE {name} {family.type}\n".encode()

    def block(self, family: Family, labels: str, reading: Reading) -> bytes | None:
        """The lines of one metric, None if it has no value that can be told."""
        if family.type != "histogram":  # most are, and this takes a third of the time
            one = value(reading)
            suffix = "_total" if family.type == "counter" else ""
            return None if one is None else f"{family.name}{suffix}{_braces(labels, None)} {_text(one)}\n".encode()
        told = samples(family, reading, strict=self._strict)
        if told is None:
            return None
        lines = [f"{family.name}{suffix}{_braces(labels, le)} {_text(number)}\n" for suffix, le, number in told]
        return "".join(lines).encode()


class OpenMetrics(PrometheusText):
    """OpenMetrics 1.0.0."""

    content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    end = b"# EOF\n"
    _strict = True

    def head(self, family: Family, size: int) -> bytes:
        name = family.name
        unit = f"# UNIT {name} {family.unit}\n" if family.unit else ""
        return f"# TYPE {name} {family.type}\n{unit}# HELP {name} {escaped(family.help)}\n".encode()


def _braces(labels: str, le: str | None) -> str:
    if le is None:
        return f"{{{labels}}}" if labels else ""
    return f'{{{labels},le="{le}"}}' if labels else f'{{le="{le}"}}'


def _text(number: Number) -> str:
    if isfinite(number):
        return repr(number)
    return "NaN" if number != number else "+Inf" if number > 0 else "-Inf"
