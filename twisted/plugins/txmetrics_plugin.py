"""The drop-in that puts ``metrics`` on twistd's list, and before endpoints; it imports nothing of txmetrics."""

from twisted.application.service import ServiceMaker
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from twisted.python.reflect import namedAny
from zope.interface import implementer

metrics = ServiceMaker(
    "txmetrics",
    "txmetrics.tap",
    "Measure another twistd plugin and report to Graphite: metrics [options] web --listen=tcp:8080",
    "metrics",
)


@implementer(IPlugin, IStreamServerEndpointStringParser)
class _EndpointParser:
    prefix = "metrics"

    def parseStreamServer(self, reactor, *args, **kwargs):
        return namedAny("txmetrics.instrument.connections.parse_server")(reactor, *args, **kwargs)


endpoint = _EndpointParser()
