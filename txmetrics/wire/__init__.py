"""Readings -> chunks of bytes: whole records, bounded size. Pure: knows neither registry nor reactor."""

from txmetrics.wire._graphite import Graphite
from txmetrics.wire._graphite_buckets import BUCKET_NUMBERS, BUCKET_ORIGIN
from txmetrics.wire._log_lines import LogLines
from txmetrics.wire._otlp import OTLP
from txmetrics.wire._pickle import Pickle
from txmetrics.wire._prometheus_names import labels_of
from txmetrics.wire._prometheus_plan import SECONDS, Family, PrometheusPlan
from txmetrics.wire._prometheus_protobuf import PrometheusProtobuf
from txmetrics.wire._prometheus_samples import samples
from txmetrics.wire._prometheus_text import OpenMetrics, PrometheusText
from txmetrics.wire._remote_write import RemoteWrite

__all__ = [
    "Graphite",
    "Pickle",
    "BUCKET_NUMBERS",
    "BUCKET_ORIGIN",
    "LogLines",
    "PrometheusPlan",
    "Family",
    "SECONDS",
    "samples",
    "labels_of",
    "PrometheusText",
    "OpenMetrics",
    "PrometheusProtobuf",
    "RemoteWrite",
    "OTLP",
]
