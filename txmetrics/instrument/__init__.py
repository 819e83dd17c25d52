"""Events in: what happens in Twisted becomes calls on metrics. Knows neither formats nor backends."""

from txmetrics.instrument._process import MeasuredProcess
from txmetrics.instrument._sites import instrument_sites, listening_sites, sites_of
from txmetrics.instrument._timed import timed
from txmetrics.instrument._web import TimedResource

__all__ = ["MeasuredProcess", "TimedResource", "instrument_sites", "listening_sites", "sites_of", "timed"]
