"""Prometheus asks: a resource that answers, from within the reactor and in turns that nobody notices."""

from txmetrics.ext.prometheus._resource import ScrapeResource

__all__ = ["ScrapeResource"]
