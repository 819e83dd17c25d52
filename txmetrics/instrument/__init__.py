"""Events in: what happens in Twisted becomes calls on metrics. Knows neither formats nor backends."""

from txmetrics.instrument._process import MeasuredProcess
from txmetrics.instrument._timed import timed
from txmetrics.instrument.web import TimedResource, instrument_sites, listening_sites, sites_of

__all__ = ["MeasuredProcess", "TimedResource", "instrument_sites", "listening_sites", "sites_of", "timed"]
