"""The article's first listing: a server that says hello.

python examples/article/1_hello.py
curl http://127.0.0.1:8001/
"""

from typing import Any

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site


class HelloWorld(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"Hello World\n"


factory: Any = Site(HelloWorld())
reactor.listenTCP(8001, factory, interface="127.0.0.1")
reactor.run()
