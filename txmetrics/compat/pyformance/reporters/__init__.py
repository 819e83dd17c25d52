"""pyformance's reporters, under the names that people import."""

from txmetrics.compat.pyformance.reporters.carbon_reporter import CarbonReporter, UdpCarbonReporter
from txmetrics.compat.pyformance.reporters.console_reporter import ConsoleReporter
from txmetrics.compat.pyformance.reporters.csv_reporter import CsvReporter
from txmetrics.compat.pyformance.reporters.hosted_graphite_reporter import HostedGraphiteReporter
from txmetrics.compat.pyformance.reporters.reporter import Reporter
from txmetrics.compat.pyformance.reporters.syslog_reporter import SysLogReporter

__all__ = [
    "CarbonReporter",
    "ConsoleReporter",
    "CsvReporter",
    "HostedGraphiteReporter",
    "Reporter",
    "SysLogReporter",
    "UdpCarbonReporter",
]
