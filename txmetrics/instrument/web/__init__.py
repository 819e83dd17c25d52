"""Twisted Web: every request of a Site, measured once."""

from txmetrics.instrument.web._request import set_long_lived, set_route
from txmetrics.instrument.web._resource import TimedResource
from txmetrics.instrument.web._shed import ShedLoad
from txmetrics.instrument.web._sites import MeasuredSites, leave_unmeasured, measure_site
from txmetrics.instrument.web._slowest import SlowRequest

__all__ = [
    "MeasuredSites",
    "ShedLoad",
    "SlowRequest",
    "TimedResource",
    "leave_unmeasured",
    "measure_site",
    "set_long_lived",
    "set_route",
]
