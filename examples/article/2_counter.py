"""The article's second listing: it counts how often it is asked, and tells.

python examples/article/2_counter.py
curl http://127.0.0.1:8001/
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
        return b"Hello World, called %d times\n" % registry.counter("hello_called").get_count()


factory: Any = Site(HelloWorld())
reactor.listenTCP(8001, factory, interface="127.0.0.1")
reactor.run()
