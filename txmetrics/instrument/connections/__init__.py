"""Connections: those of any server or client factory, whatever they carry."""

from txmetrics.instrument.connections._endpoint import MeasuredEndpoint, parse_server, use_registry
from txmetrics.instrument.connections._factory import measure_connections, unmeasure_connections
from txmetrics.instrument.connections._search import MeasuredConnections

__all__ = [
    "MeasuredConnections",
    "MeasuredEndpoint",
    "measure_connections",
    "parse_server",
    "unmeasure_connections",
    "use_registry",
]
