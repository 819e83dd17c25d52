"""The protobuf format: messages of the type io.prometheus.client.MetricFamily, each with its length before it.

It is the only one that has native histograms. They stand beside the classic ones, and a scraper takes what it knows.
"""

from __future__ import annotations

from math import inf

from txmetrics.snapshot import HistogramReading, Reading, TimerReading
from txmetrics.wire._native import NOTHING, SCHEMA, native_counts, native_spans
from txmetrics.wire._prometheus_names import labels_of
from txmetrics.wire._prometheus_plan import Family
from txmetrics.wire._prometheus_samples import counts, value
from txmetrics.wire._protobuf import double, integer, part, signed, varint

__all__ = ["PrometheusProtobuf"]

_TYPES = {"counter": 0, "gauge": 1, "histogram": 4}


class PrometheusProtobuf:
    """Delimited protobuf, with classic and native histograms."""

    content_type = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    end = b""
    """What stands behind the last family."""

    def head(self, family: Family, size: int) -> bytes:
        """What stands before the metrics of ``family``, which are ``size`` bytes together."""
        name = f"{family.name}_total" if family.type == "counter" else family.name
        unit = part(5, family.unit.encode()) if family.unit else b""
        head = part(1, name.encode()) + part(2, family.help.encode()) + integer(3, _TYPES[family.type]) + unit
        return varint(len(head) + size) + head

    def block(self, family: Family, labels: str, reading: Reading) -> bytes | None:
        """The message of one metric, None if it has no value that can be told."""
        if isinstance(reading, HistogramReading | TimerReading):
            what = part(7, _histogram(family, reading))
        else:
            one = value(reading)
            if one is None:
                return None
            what = part(3 if family.type == "counter" else 2, double(1, one))
        pairs = labels_of(reading.name, labels)
        written = [part(1, part(1, name.encode()) + part(2, text.encode())) for name, text in pairs]
        return part(4, b"".join(written) + what)


def _histogram(family: Family, reading: HistogramReading | TimerReading) -> bytes:
    *classic, count = counts(family, reading)
    buckets = [
        part(3, integer(1, below) + double(2, bound))
        for bound, below in zip([*family.bounds, inf], [*classic, count], strict=True)
    ]
    negative, zero, positive = native_counts(reading.spread)
    native = [
        signed(5, SCHEMA),
        double(6, NOTHING),
        integer(7, zero),
        *native_spans(negative, 9),
        # An empty span says that this is a native histogram.
        *(native_spans(positive, 12) or [part(12, signed(1, 0) + integer(2, 0))]),
    ]
    return b"".join([integer(1, count), double(2, reading.sum), *buckets, *native])
