"""OTLP: requests, read by opentelemetry-proto, and a collector that reads them so."""

from __future__ import annotations

from gzip import decompress
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from tests.sink import Answer, Sink

HEADERS = ("content-type", "content-encoding")


class Told(NamedTuple):
    """One data point."""

    name: str
    unit: str
    kind: str
    """"sum", "gauge" or "exponential_histogram"."""
    attributes: dict[str, str]
    point: Any
    """The message."""

    @property
    def value(self) -> float:
        """Of a sum or a gauge."""
        value: float = getattr(self.point, self.point.WhichOneof("value"))
        return value


def pairs(attributes: Any) -> dict[str, str]:
    """Attributes, of which no two may be called the same; each is a text."""
    found = {each.key: each.value.string_value for each in attributes}
    assert len(found) == len(attributes)
    assert all(found)
    assert all(found.values())
    return found


def parse(data: bytes) -> Any:
    """The request in a chunk; fails for a field that opentelemetry-proto does not know."""
    request = ExportMetricsServiceRequest.FromString(decompress(data))
    again = request.SerializeToString()
    request.DiscardUnknownFields()
    assert request.SerializeToString() == again, "there are unknown fields"
    return request


def read_request(data: bytes) -> tuple[dict[str, str], list[Told]]:
    """The resource, and the points in their order; fails for a metric that comes twice."""
    [of_resource] = parse(data).resource_metrics
    [of_scope] = of_resource.scope_metrics
    assert of_scope.scope.name == "txmetrics"
    found = [(metric, metric.WhichOneof("data")) for metric in of_scope.metrics]
    heads = [(metric.name, metric.unit, kind) for metric, kind in found]
    told = [
        Told(metric.name, metric.unit, kind, pairs(point.attributes), point)
        for metric, kind in found
        for point in getattr(metric, kind).data_points
    ]
    for metric, kind in found:
        if kind != "gauge":
            assert getattr(metric, kind).aggregation_temporality == 2  # cumulative
    assert all(metric.sum.is_monotonic for metric, kind in found if kind == "sum")
    assert len(heads) == len(set(heads))
    return pairs(of_resource.resource.attributes), told


class Collector(Sink):
    """Takes requests of metrics and reads each of them; what it cannot read it refuses, as a real one does."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: set[tuple[str | None, ...]] = set()
        """What requests said of their bodies."""

    def render_POST(self, request: Any) -> int:
        self.headers.add(tuple(request.getHeader(name) for name in HEADERS))
        if not self.answers:
            self.answers.append(take())
        return super().render_POST(request)

    @property
    def told(self) -> list[Told]:
        """All points that were taken, but those about the reporter."""
        told = [one for data in self.accepted for one in read_request(data)[1]]
        return [one for one in told if not one.name.startswith("txmetrics.")]


def take(rejected: int = 0, message: str = "") -> Answer:
    """200, with what a real collector says; and that it does not take some of the points."""

    def answer(sink: Sink, request: Any, data: bytes) -> None:
        read_request(data)
        sink.accepted.append(data)
        response = ExportMetricsServiceResponse()
        if rejected or message:
            response.partial_success.rejected_data_points = rejected
            response.partial_success.error_message = message
        request.setHeader("content-type", "application/x-protobuf")
        request.write(response.SerializeToString())
        request.finish()

    return answer
