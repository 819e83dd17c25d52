"""Each backend in one sentence: this wire, over that delivery, this often."""

from txmetrics.backends._destinations import check_destination
from txmetrics.backends._endpoints import check_endpoint, way_to
from txmetrics.backends._graphite import check_window, graphite
from txmetrics.backends._hosted_graphite import HOSTED_GRAPHITE, hosted_graphite
from txmetrics.backends._log import log
from txmetrics.backends._otlp import otlp
from txmetrics.backends._prefix import check_prefix, check_tags
from txmetrics.backends._remote_write import remote_write

__all__ = [
    # the backends
    "graphite",
    "hosted_graphite",
    "log",
    "otlp",
    "remote_write",
    # what their arguments may be
    "HOSTED_GRAPHITE",
    "check_destination",
    "check_endpoint",
    "check_prefix",
    "check_tags",
    "check_window",
    "way_to",
]
