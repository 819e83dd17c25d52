"""Readings -> chunks of bytes: whole records, bounded size. Pure: knows neither registry nor reactor."""

from txmetrics.wire._graphite import Graphite

__all__ = ["Graphite"]
