"""Applications of every kind that Twisted Web serves, as small as can be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from autobahn.twisted.resource import WebSocketResource as AutobahnResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from klein import Klein
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.spread.pb import PBServerFactory
from twisted.web.distrib import ResourcePublisher, ResourceSubscription
from twisted.web.error import UnsupportedMethod
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.script import ResourceScript, ResourceScriptDirectory
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory, Site
from twisted.web.static import File
from twisted.web.util import DeferredResource
from twisted.web.websocket import WebSocketResource
from twisted.web.wsgi import WSGIResource
from zope.interface import implementer

from tests.instrument.web.loopback import HOST, Stage
from tests.strict import the_reactor

DELAY = 0.05
"""Seconds that slow pages take."""

TEXT = b"All the world's a stage, " * 100


class Page(Resource):
    """A leaf that answers GET and POST with what ``answer(request)`` returns."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__()
        self.render_GET = self.render_POST = answer

    def __repr__(self) -> str:
        return "<a page>"


def text(words: bytes) -> Page:
    return Page(lambda request: words)


def tree(**children: Any) -> Resource:
    """A resource with ``children``; one named ``index`` answers for the resource itself."""
    parent = Resource()
    for name, child in children.items():
        parent.putChild(b"" if name == "index" else name.encode(), child)
    return parent


def answer_later(words: bytes, seconds: float = DELAY) -> Callable[[Any], int]:
    """A page that finishes long after its ``render``."""

    def answer(request: Any) -> int:
        request.write(words)
        the_reactor().callLater(seconds, request.finish)
        return NOT_DONE_YET

    return answer


def write_slowly(*parts: bytes, seconds: float = DELAY) -> Callable[[Any], int]:
    """A page that writes its parts one after the other, the first one at once."""

    def answer(request: Any) -> int:
        def go_on(first: bytes, *others: bytes) -> None:
            request.write(first)
            the_reactor().callLater(seconds / len(parts), *((go_on, *others) if others else (request.finish,)))

        go_on(*parts)
        return NOT_DONE_YET

    return answer


def first(step: Callable[[Any], object], answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A page that does something with its request before it answers it."""

    def both(request: Any) -> Any:
        step(request)
        return answer(request)

    return both


def send_events(request: Any) -> None:
    """Say that what follows are server-sent events."""
    request.setHeader(b"content-type", b"text/event-stream; charset=utf-8")


def raise_error(request: Any) -> bytes:
    raise ArithmeticError("on purpose")


class Never(Resource):
    """Writes ``words`` and waits until the client is gone; ``gone`` fires then, with what ``then`` returned."""

    isLeaf = True

    def __init__(
        self,
        words: bytes = b"",
        then: Callable[[Any], object] = lambda request: None,
        before: Callable[[Any], object] = lambda request: None,
    ) -> None:
        super().__init__()
        self._words = words
        self._then = then
        self._before = before
        self.began: Deferred[None] = Deferred()
        self.gone: Deferred[object] = Deferred()

    def render_GET(self, request: Any) -> int:
        self._before(request)
        if self._words:
            request.write(self._words)
        request.notifyFinish().addErrback(lambda failure: self.gone.callback(self._then(request)))
        self.began.callback(None)
        return NOT_DONE_YET


def finish_in_vain(request: Any) -> object:
    """Finish a request whose client is gone; returns the error."""
    try:
        request.finish()
    except RuntimeError as error:
        return error
    return None


class Branch(Resource):
    """A resource that finds its children by ``find(name)``."""

    def __init__(self, find: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._find = find

    def getChild(self, path: bytes, request: Any) -> Any:
        return self._find(path)


class Endless(Resource):
    """Is its own child, at any depth."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        return self

    def render_GET(self, request: Any) -> bytes:
        return b"/".join(request.prepath)


@implementer(IResource)
class OnlyGet:
    """Knows no HEAD, so that Twisted Web fakes one."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer

    def render(self, request: Any) -> Any:
        if request.method != b"GET":
            raise UnsupportedMethod([b"GET"])
        return self._answer(request)


class OwnHead(Page):
    """Has a HEAD of its own."""

    def render_HEAD(self, request: Any) -> bytes:
        request.setHeader(b"x-own", b"head")
        return b""


def gzipped(resource: Any) -> EncodingResourceWrapper:
    return EncodingResourceWrapper(resource, [GzipEncoderFactory()])


# Twisted Web's own


def files(stage: Stage) -> File:
    """A directory with ``hello.txt``, ``index.html``, a subdirectory ``below`` and a script."""
    _write(stage.path / "hello.txt", bytes(range(256)) * 4)
    _write(stage.path / "index.html", b"<p>index</p>")
    (stage.path / "below").mkdir(exist_ok=True)
    root = File(str(stage.path))
    root.processors = {".rpy": ResourceScript}
    _script(stage)
    return root


def scripts(stage: Stage) -> ResourceScriptDirectory:
    _script(stage)
    return ResourceScriptDirectory(str(stage.path).encode())


def _script(stage: Stage) -> None:
    script = b"from twisted.web.static import Data\nresource = Data(b'a script', 'text/plain')\n"
    _write(stage.path / "page.rpy", script)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is always as old: its time is in the answer."""
    path.write_bytes(content)
    os.utime(path, (1_000_000_000, 1_000_000_000))


@implementer(IRealm)
class Realm:
    """Gives everybody the same resource, after a while."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: object) -> Deferred[Any]:
        avatar = IResource, self._resource, lambda: None
        return deferLater(the_reactor(), DELAY, lambda: avatar)


def guarded(resource: Resource) -> HTTPAuthSessionWrapper:
    portal = Portal(Realm(resource), [InMemoryUsernamePasswordDatabaseDontUse(will=b"globe")])
    return HTTPAuthSessionWrapper(portal, [BasicCredentialFactory(b"stage")])


def wsgi(stage: Stage) -> WSGIResource:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield environ["PATH_INFO"].encode()
        yield b" by WSGI"

    pool = ThreadPool(1, 1)
    pool.start()
    stage.at_end(pool.stop)
    return WSGIResource(the_reactor(), pool, application)


def proxy(stage: Stage) -> ReverseProxyResource:
    return ReverseProxyResource(HOST, stage.listen(Site(tree(there=text(b"from behind")))), b"", the_reactor())


def subscription(stage: Stage) -> ResourceSubscription:
    """A resource that another process (this one, here) renders, for requests that travel there as copies."""
    resource = ResourceSubscription(HOST, stage.listen(PBServerFactory(ResourcePublisher(Site(text(b"from afar"))))))
    stage.at_end(lambda: resource.publisher.broker.transport.loseConnection())
    return resource


# Klein


def klein() -> Klein:
    """An application with routes of every kind."""
    app = Klein()

    @app.route("/")
    def root(request: Any) -> str:
        return "root"

    @app.route("/item/<int:number>")
    def item(request: Any, number: int) -> Deferred[str]:
        return deferLater(the_reactor(), DELAY, lambda: f"item {number}")

    @app.route("/coroutine")
    async def coroutine(request: Any) -> str:
        await deferLater(the_reactor(), DELAY)
        return "coroutine"

    @app.route("/error")
    def error(request: Any) -> None:
        raise_error(request)

    @app.route("/late-error")
    async def late_error(request: Any) -> None:
        await deferLater(the_reactor(), DELAY)
        raise_error(request)

    @app.route("/branch/", branch=True)
    def branch(request: Any) -> Resource:
        return tree(leaf=text(b"a leaf"))

    @app.route("/socket")
    async def socket(request: Any) -> Any:
        await deferLater(the_reactor(), DELAY)
        return twisted_socket()

    return app


def klein_that_never_answers() -> Any:
    app = Klein()
    resource = app.resource()
    resource.began, resource.gone = Deferred(), Deferred()

    @app.route("/")
    def never(request: Any) -> Deferred[None]:
        resource.began.callback(None)
        return Deferred(lambda cancelled: resource.gone.callback(None))

    return resource


# Websockets


class TwistedEcho:
    """Twisted's own kind of websocket protocol."""

    def negotiationStarted(self, transport: Any) -> None:
        self._transport = transport

    def negotiationFinished(self) -> None:
        """Nothing to say yet."""

    def textMessageReceived(self, message: str) -> None:
        self._transport.sendTextMessage(message)

    def bytesMessageReceived(self, data: bytes) -> None:
        self._transport.sendBytesMessage(data)

    def pongReceived(self, payload: bytes) -> None:
        """Nobody pings."""

    def connectionLost(self, reason: Failure) -> None:
        """It is over."""


class TwistedEchoes:
    """Builds them."""

    def buildProtocol(self, request: Any) -> TwistedEcho:
        return TwistedEcho()


def twisted_socket(leaf: bool = False) -> WebSocketResource:
    resource = WebSocketResource(TwistedEchoes())
    resource.isLeaf = leaf
    return resource


class AutobahnEcho(WebSocketServerProtocol):
    """Autobahn's kind."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


def autobahn_socket() -> AutobahnResource:
    factory = WebSocketServerFactory()
    factory.protocol = AutobahnEcho
    return AutobahnResource(factory)


def render_later(resource: Any) -> Page:
    """A page that has ``resource`` render the request later, by itself."""

    def answer(request: Any) -> int:
        the_reactor().callLater(DELAY, resource.render, request)
        return NOT_DONE_YET

    return Page(answer)


def found_later(resource: Any) -> Branch:
    """A resource that needs a while to find ``resource``, its only child."""
    return Branch(lambda name: DeferredResource(deferLater(the_reactor(), DELAY, lambda: resource)))
