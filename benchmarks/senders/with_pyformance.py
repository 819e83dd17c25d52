"""pyformance's CarbonReporter, in a thread of its own, as it comes."""

from __future__ import annotations

import time
from typing import Any

from pyformance import MetricsRegistry  # type: ignore[import-not-found]  # it is in this child's environment only
from pyformance.reporters.carbon_reporter import CarbonReporter  # type: ignore[import-not-found]
from reports import Reports, wait_for_the_end


class Reporter(CarbonReporter):
    def report_now(self, registry: Any = None, timestamp: Any = None) -> None:
        number = reports.next()
        for name in reports.names:
            self.registry.gauge(name).set_value(number)
        super().report_now(registry, timestamp)


reports = Reports()
reporter = Reporter(MetricsRegistry(), 1, f"{reports.prefix}.", "127.0.0.1", reports.port)
reporter.start()
wait_for_the_end()
reporter.stop()
time.sleep(2)  # its thread looks up once a second, and nobody else would wait for it
reports.tell()
