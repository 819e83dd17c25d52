"""Events in: what happens in Twisted becomes calls on metrics. Knows neither formats nor backends."""

from txmetrics.instrument._adbapi import MeasuredConnectionPool
from txmetrics.instrument._agent import TimedAgent
from txmetrics.instrument._endpoint import TimedEndpoint
from txmetrics.instrument._logs import MeasuredLog
from txmetrics.instrument._loops import measure_loop
from txmetrics.instrument._process import MeasuredProcess
from txmetrics.instrument._radar import DeferredRadar
from txmetrics.instrument._tasks import Tasks
from txmetrics.instrument._threads import MeasuredThreadPool
from txmetrics.instrument._timed import timed
from txmetrics.instrument.connections import (
    MeasuredConnections,
    measure_connections,
    unmeasure_connections,
    use_registry,
)
from txmetrics.instrument.reactor import BlockingCalls, Lag, MeasuredReactor
from txmetrics.instrument.web import (
    MeasuredSites,
    ShedLoad,
    SlowRequest,
    TimedResource,
    leave_unmeasured,
    measure_site,
    set_long_lived,
    set_route,
)

__all__ = [
    # Twisted Web
    "MeasuredSites",
    "ShedLoad",
    "SlowRequest",
    "TimedResource",
    "leave_unmeasured",
    "measure_site",
    "set_long_lived",
    "set_route",
    # calls
    "DeferredRadar",
    "Tasks",
    "measure_loop",
    "timed",
    # calls out, connections, threads and databases
    "TimedAgent",
    "TimedEndpoint",
    "MeasuredConnectionPool",
    "MeasuredConnections",
    "MeasuredThreadPool",
    "measure_connections",
    "unmeasure_connections",
    "use_registry",
    # the reactor and the process
    "BlockingCalls",
    "Lag",
    "MeasuredLog",
    "MeasuredProcess",
    "MeasuredReactor",
]
