"""The statsd client over TCP, to a statsd server that reports to Graphite every second."""

from __future__ import annotations

from threading import Event, Thread

from reports import Reports, seconds_to_the_middle, wait_for_the_end
from statsd import TCPStatsClient  # type: ignore[import-not-found]  # it is in this child's environment only


def report_every_second() -> None:
    # The server reports at full seconds: right between two of them it has time for each report.
    while not ended.wait(seconds_to_the_middle()):
        number = reports.next()
        with client.pipeline() as pipeline:
            for name in reports.names:
                pipeline.gauge(name, number)


reports = Reports()
client = TCPStatsClient("127.0.0.1", reports.port, prefix=reports.prefix)
ended = Event()
reporting = Thread(target=report_every_second)
reporting.start()
wait_for_the_end()
ended.set()
reporting.join()
client.close()
reports.tell()
