"""Readings -> chunks of bytes: whole records, bounded size. Pure: knows neither registry nor reactor."""

from txmetrics.wire._graphite import Graphite
from txmetrics.wire._pickle import Pickle

__all__ = ["Graphite", "Pickle"]
