"""Prometheus: expositions, read by parsers that none of us wrote; and a real server, scraping on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, proto
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from tests.carbon import HOST
from tests.receivers import Receiver, program
from txmetrics.snapshot import (
    CounterReading,
    GaugeReading,
    HistogramReading,
    MeterReading,
    Reading,
    TimerReading,
    Unreadable,
)
from txmetrics.wire import PrometheusPlan

KINDS: Mapping[type, str] = {
    CounterReading: "counter",
    GaugeReading: "gauge",
    Unreadable: "gauge",
    MeterReading: "meter",
    HistogramReading: "histogram",
    TimerReading: "timer",
}

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"

Samples: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by the name of the sample and its labels."""


def expose(readings: Iterable[Reading], format: Any, plan: PrometheusPlan | None = None) -> bytes:
    """All ``readings``, of which no two have the same name, as one exposition."""
    plan = plan or PrometheusPlan()
    by_name = {reading.name: reading for reading in readings}
    for name, reading in by_name.items():
        plan.add(name, KINDS[type(reading)])
    pieces = []
    for family in plan.families.values():
        blocks = [format.block(family, labels, by_name[name]) for labels, name in family.series.items()]
        metrics = b"".join(block for block in blocks if block is not None)
        pieces += [format.head(family, len(metrics)), metrics] if metrics else []
    return b"".join([*pieces, format.end])


def read_text(exposition: bytes) -> list[Metric]:
    """The families of text 0.0.4; fails for a sample that does not belong to the family before it."""
    families = [*text_string_to_metric_families(exposition.decode())]
    assert all(family.type != "unknown" for family in families), exposition
    return families


def read_openmetrics(exposition: bytes) -> list[Metric]:
    """The families of OpenMetrics."""
    families = [*openmetrics_parser.text_string_to_metric_families(exposition.decode())]
    assert all(family.type != "unknown" for family in families), exposition
    return families


def samples(families: Iterable[Metric]) -> Samples:
    """All samples, of which no two are the same."""
    told: Samples = {}
    seen = set()
    for family in families:
        assert family.name not in seen
        seen.add(family.name)
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in told
            told[key] = sample.value
    return told


# Protobuf: what of io.prometheus.client and of prometheus.WriteRequest is used, as a table

_F = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _F.TYPE_STRING,
    "double": _F.TYPE_DOUBLE,
    "uint64": _F.TYPE_UINT64,
    "uint32": _F.TYPE_UINT32,
    "sint32": _F.TYPE_SINT32,
    "sint64": _F.TYPE_SINT64,
    "int32": _F.TYPE_INT32,  # how an enum is written
    "int64": _F.TYPE_INT64,
}
_MESSAGES = {
    "LabelPair": {1: "string name", 2: "string value"},
    "Gauge": {1: "double value"},
    "Counter": {1: "double value"},
    "Bucket": {1: "uint64 cumulative_count", 2: "double upper_bound"},
    "BucketSpan": {1: "sint32 offset", 2: "uint32 length"},
    "Histogram": {
        1: "uint64 sample_count",
        2: "double sample_sum",
        3: "*Bucket bucket",
        5: "sint32 schema",
        6: "double zero_threshold",
        7: "uint64 zero_count",
        9: "*BucketSpan negative_span",
        10: "*sint64 negative_delta",
        12: "*BucketSpan positive_span",
        13: "*sint64 positive_delta",
    },
    "Metric": {1: "*LabelPair label", 2: "Gauge gauge", 3: "Counter counter", 7: "Histogram histogram"},
    "MetricFamily": {1: "string name", 2: "string help", 3: "int32 type", 4: "*Metric metric", 5: "string unit"},
    # remote write
    "Sample": {1: "double value", 2: "int64 timestamp"},
    "SentHistogram": {
        1: "uint64 count",
        3: "double sum",
        4: "sint32 schema",
        5: "double zero_threshold",
        6: "uint64 zero_count",
        8: "*BucketSpan negative_spans",
        9: "*sint64 negative_deltas",
        11: "*BucketSpan positive_spans",
        12: "*sint64 positive_deltas",
        15: "int64 timestamp",
    },
    "TimeSeries": {1: "*LabelPair labels", 2: "*Sample samples", 4: "*SentHistogram histograms"},
    "WriteRequest": {1: "*TimeSeries timeseries"},
}
"""By message and number the type and name of a field; a star is for repeated ones."""


def _message_classes(*names: str) -> list[Any]:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="test", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, text in fields.items():
            kind, field = text.lstrip("*").split()
            label = _F.LABEL_REPEATED if text.startswith("*") else _F.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            added.type = _SCALARS.get(kind, _F.TYPE_MESSAGE)
            if kind not in _SCALARS:
                added.type_name = f".test.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}")) for name in names]


_MetricFamily, WriteRequest = _message_classes("MetricFamily", "WriteRequest")


def read_protobuf(exposition: bytes) -> list[Any]:
    """The families of the protobuf format; fails for a field that is not in the table."""
    stream = BytesIO(exposition)
    families = []
    while (family := proto.parse_length_prefixed(_MetricFamily, stream)) is not None:
        again = proto.serialize(family)
        family.DiscardUnknownFields()
        assert proto.serialize(family) == again, f"{family.name} has unknown fields"
        families.append(family)
    return families


def native_buckets(spans: Any, deltas: Any) -> dict[int, int]:
    """Counts by the number of the bucket, of native buckets as they are sent."""
    told: dict[int, int] = {}
    left = [*deltas]
    key = count = 0
    for span in spans:
        key += span.offset
        for _ in range(span.length):
            count += left.pop(0)
            told[key] = count
            key += 1
    assert not left
    return told


# The server


class Prometheus(Receiver):
    """A Prometheus that scrapes one target each second, takes remote write, and is asked by its API."""

    CONFIG = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1h}\n"
    SCRAPES = """\
scrape_configs:
  - job_name: test
    static_configs: [{{targets: ['{host}:{port}']}}]
"""

    def __init__(self, port: int | None, *features: str) -> None:
        """It scrapes ``/metrics`` at that port on HOST, if any; ``features`` are those of --enable-feature."""
        super().__init__(program("prometheus", "prometheus"), ports=1)
        self._features = features
        self.write_url = f"http://{HOST}:{self.ports[0]}/api/v1/write"
        scrapes = "" if port is None else self.SCRAPES.format(host=HOST, port=port)
        (self.root / "prometheus.yml").write_text(self.CONFIG + scrapes)

    def arguments(self) -> list[str]:
        return [
            f"--config.file={self.root}/prometheus.yml",
            f"--storage.tsdb.path={self.root}/data",
            f"--web.listen-address={HOST}:{self.ports[0]}",
            "--web.enable-remote-write-receiver",
            "--log.level=warn",
            *(f"--enable-feature={feature}" for feature in self._features),
        ]

    def query(self, expression: str, moment: float) -> dict[str, Any]:
        """
        What each series was at that moment, by its name and labels without those that the scrape gave it.

        That is a number, or a dict for a native histogram; of a query for a range a list of either.
        """
        return {_series(each["metric"]): _value(each) for each in self.ask(expression, moment)}

    def ask(self, expression: str, moment: float) -> list[dict[str, Any]]:
        """What it answers to a query, as it is."""
        return answered(self._get(self.ports[0], "/api/v1/query", query=expression, time=moment))

    def number(self, expression: str, moment: float) -> float:
        """The value of the only series that there is."""
        [value] = self.query(expression, moment).values()
        return float(value)


def answered(body: bytes) -> list[dict[str, Any]]:
    """What the API says, as it is."""
    answer = json.loads(body)
    assert answer["status"] == "success", answer
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def series(name: str, labels: Iterable[tuple[str, str]]) -> str:
    """A series as a query would ask for it."""
    return f"{name}{{{','.join(f'{label}={value!r}' for label, value in sorted(labels))}}}"


def _series(metric: Mapping[str, str]) -> str:
    labels = dict(metric)
    name = labels.pop("__name__", "")
    return series(name, [(label, value) for label, value in labels.items() if label not in ("job", "instance")])


def _value(told: Mapping[str, Any]) -> Any:
    if "values" in told:
        return [float(value) for _, value in told["values"]]
    if "histograms" in told:
        return [value for _, value in told["histograms"]]
    return float(told["value"][1]) if "value" in told else told["histogram"][1]
