"""The article's third listing: it tells how the sizes of all worlds so far are spread.

python examples/article/3_histogram.py
curl 'http://127.0.0.1:8001/?world_size=3'
"""

from typing import Any

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from txmetrics.compat.pyformance import MetricsRegistry

registry = MetricsRegistry()


class HelloWorld(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        registry.counter("hello_called").inc()
        registry.histogram("world_size").add(int(request.args[b"world_size"][0]))
        return f"{registry._get_histogram_metrics('world_size')}\n".encode()


factory: Any = Site(HelloWorld())
reactor.listenTCP(8001, factory, interface="127.0.0.1")
reactor.run()
