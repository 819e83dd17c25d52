"""txmetrics, with nothing set but the interval."""

from __future__ import annotations

from reports import Reports, stop_at_the_end
from twisted.internet import reactor

from txmetrics import MetricsRegistry, backends

reports = Reports()
registry = MetricsRegistry()
first, *others = reports.names
registry.gauge(first, reports.next)  # read first of all
for name in others:
    registry.gauge(name, lambda: reports.number)
reporter = backends.graphite(registry, f"tcp:127.0.0.1:{reports.port}", interval=1, prefix=reports.prefix)
reporter.start_with(reactor)
stop_at_the_end(reactor)
reactor.run()
reports.tell(ledger=reporter.ledger())
