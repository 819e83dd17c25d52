"""Twisted Web: every request of a Site, measured once."""

from txmetrics.instrument.web._resource import TimedResource
from txmetrics.instrument.web._sites import instrument_sites, listening_sites, sites_of

__all__ = ["TimedResource", "instrument_sites", "listening_sites", "sites_of"]
