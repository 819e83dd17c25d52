"""Remote write: bodies, read by a snappy and a protobuf that are not ours; and a VictoriaMetrics to send them to."""

from __future__ import annotations

from struct import pack
from typing import Any, NamedTuple

import cramjam
from google.protobuf import proto

from tests.carbon import HOST
from tests.prometheus import Prometheus, WriteRequest, answered, series
from tests.receivers import Victoria

ENDED = "ended"
"""A stale marker, as a value."""


class Sent(NamedTuple):
    """One sample of remote write."""

    series: str
    milliseconds: int
    value: Any
    """A number, ENDED, or the message of a native histogram."""


def read_body(body: bytes) -> list[Sent]:
    """The samples of a body in their order, read by a snappy and a protobuf that are not ours.

    Fails for a field that is not in the table, and for labels that are not in order, are empty or come twice.
    """
    request = proto.parse(WriteRequest, bytes(cramjam.snappy.decompress_raw(body)))
    again = proto.serialize(request)
    request.DiscardUnknownFields()
    assert proto.serialize(request) == again, "there are unknown fields"
    return [sent for one in request.timeseries for sent in _sent(one)]


def _sent(one: Any) -> list[Sent]:
    labels = [(pair.name, pair.value) for pair in one.labels]
    names = [name for name, _ in labels]
    assert names == sorted(set(names))
    assert all(name and value for name, value in labels)
    told = dict(labels)
    name = series(told.pop("__name__"), told.items())
    samples = [Sent(name, each.timestamp, _number(each.value)) for each in one.samples]
    return samples + [Sent(name, each.timestamp, each) for each in one.histograms]


def _number(value: float) -> float | str:
    return ENDED if pack(">d", value).hex() == "7ff0000000000002" else value


class VictoriaMetrics(Victoria):
    """A VictoriaMetrics that takes remote write and is asked as a Prometheus is."""

    def __init__(self, *flags: str) -> None:
        super().__init__(*flags)
        self.write_url = f"http://{HOST}:{self.ports[1]}/api/v1/write"

    def ask(self, expression: str, moment: float) -> list[dict[str, Any]]:
        """What it answers to a query, as it is; what it was sent just now is there."""
        self._get(self.ports[1], "/internal/force_flush")
        return answered(self._get(self.ports[1], "/api/v1/query", query=expression, time=moment))

    query = Prometheus.query
    number = Prometheus.number
