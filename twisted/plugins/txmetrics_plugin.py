"""The drop-in that puts ``metrics`` on twistd's and twist's list; it imports nothing of txmetrics."""

from twisted.application.service import ServiceMaker

metrics = ServiceMaker(
    "txmetrics",
    "txmetrics.tap",
    "Measure another twistd plugin and report to Graphite: metrics [options] web --listen=tcp:8080",
    "metrics",
)
