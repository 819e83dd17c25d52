"""The five metrics: pure numbers, no Twisted, no locks. They belong to the reactor's thread.

From another thread, hand the call over: ``reactor.callFromThread(counter.inc)``.
"""

from txmetrics.metrics._counter import Counter
from txmetrics.metrics._gauge import Gauge
from txmetrics.metrics._histogram import FOLD, Histogram, Window
from txmetrics.metrics._meter import Meter
from txmetrics.metrics._timer import Timer

__all__ = ["FOLD", "Counter", "Gauge", "Histogram", "Meter", "Timer", "Window"]
