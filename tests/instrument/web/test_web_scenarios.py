"""Every shape of a request, on a bare Site and on measured ones: the same bytes, and each request counted once.

What has to be counted is read off the wire, from the answers as a client understands them. Each Site is new, so what
is measured is its first connection, and before the first request nothing has been prepared but the root.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.rewrite import RewriterResource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.static import Data
from twisted.web.util import Redirect
from twisted.web.vhost import NameVirtualHost, VHostMonsterResource

from tests.instrument.web import applications as app
from tests.instrument.web.applications import DELAY, TEXT, Page, text, tree
from tests.instrument.web.loopback import (
    GOODBYE,
    HELLO,
    Client,
    Stage,
    answers,
    check_sums,
    counted,
    handshake,
    normal,
    request,
    routes,
)
from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument.web import measure_site, set_long_lived, set_route

Talk = Callable[[Client, Any], Awaitable[None]]


class Scenario(NamedTuple):
    """What is served, what the client says, and what comes of it."""

    root: Callable[[Stage], Any]
    talk: Talk
    routes: tuple[str, ...] = ("GET-a",)
    """One for each request."""
    codes: tuple[int, ...] = (200,)
    method: str = "GET"
    aborted: int = 0
    upgrades: int = 0
    long_lived: int = 0
    sent: int | None = None
    """Body bytes; None: as many as the answers have."""
    received: int = 0
    """Body bytes of the requests."""
    invisible: bool = False
    """No resource ever sees it, so that only a Site that is measured from the beginning counts it."""
    slow: bool = False
    """The answer takes DELAY seconds, during which ``render`` is over."""
    errors: int = 0
    """How many errors Twisted logs."""


def say(*requests: bytes) -> Talk:
    """Send ``requests`` in one piece and wait for the end of the connection."""

    async def talk(client: Client, root: Any) -> None:
        client.send(*requests)
        await client.closed()

    return talk


def get(path: str = "/", *headers: str) -> Talk:
    return say(request(path, *headers))


async def hang_up(client: Client, root: Any) -> None:
    """Go away when the page has begun, and wait until the server knows."""
    client.send(request())
    await root.began
    client.hang_up()
    await root.gone


async def hang_up_early(client: Client, root: Any) -> None:
    """Go away after the first words."""
    client.send(request())
    await client.until(TEXT)
    client.hang_up()
    await root.gone


async def finish_too_late(client: Client, root: Any) -> None:
    """The page finishes what nobody waits for any more, and Twisted tells it so."""
    client.send(request())
    await root.began
    client.hang_up()
    assert "after its connection was lost" in str(await root.gone)


async def say_two(client: Client, root: Any) -> None:
    """Two requests on one connection, the second after the first answer."""
    client.send(request("/a", close=False))
    await client.until(b"the first")
    client.send(request("/b"))
    await client.closed()


async def head_that_got_away(client: Client, root: Any) -> None:
    """Twisted Web finishes a faked HEAD before the page does."""
    await say(request("/a", method="HEAD"))(client, root)
    await deferLater(the_reactor(), 2 * DELAY)


def open_socket(path: str = "/socket", upgrade: str = "websocket") -> Talk:
    """A websocket that hears its echo and is closed in good order."""

    async def talk(client: Client, root: Any) -> None:
        client.send(handshake(path, upgrade))
        await client.until(b"\r\n\r\n")
        client.send(HELLO)
        await client.until(b"hello")
        client.send(GOODBYE)
        await client.closed()
        assert client.received.startswith(b"HTTP/1.1 101")

    return talk


def two_pages(first: Any, second: Any) -> Callable[[Stage], Resource]:
    return lambda stage: tree(a=first, b=second)


def virtual_host(**hosts: Any) -> NameVirtualHost:
    root = NameVirtualHost()
    for name, resource in hosts.items():
        root.addHost(name.encode(), resource)
    return root


def rewrite(request: Any) -> None:
    """A rule that knows the new place of an old resource."""
    request.postpath[:] = [b"new" if part == b"old" else part for part in request.postpath]


def echo(request: Any) -> bytes:
    """A page that answers with the request's body."""
    return bytes(request.content.read())


def no_content(request: Any) -> bytes:
    request.setResponseCode(204)
    return b""


def named(request: Any) -> bytes:
    """A page that knows a better name for its route."""
    set_route(request, "/numbers/{n}")
    return b"a number"


def abort(request: Any) -> int:
    """A page that hangs up."""
    request.transport.abortConnection()
    return NOT_DONE_YET


def replace_root(request: Any) -> None:
    """A page that puts another root in the place of its own."""
    request.site.resource = tree(b=text(b"the second"))


def finish_itself(request: Any) -> int:
    """A page that is finished before its render is over."""
    request.write(b"by itself")
    request.finish()
    return NOT_DONE_YET


SCENARIOS = {
    # Finding the resource
    "sync": Scenario(lambda stage: tree(a=text(b"sync")), get("/a")),
    "a leaf with more path behind it": Scenario(
        lambda stage: tree(a=Page(lambda request: b"/".join(request.postpath))), get("/a/b/c")
    ),
    "nested": Scenario(lambda stage: tree(a=tree(b=tree(c=text(b"nested")))), get("/a/b/c"), routes=("GET-a-b-c",)),
    "children found dynamically": Scenario(
        lambda stage: app.Branch(lambda name: text(name)), get("/child"), routes=("GET-_",)
    ),
    "a resource that is its own child": Scenario(lambda stage: app.Endless(), get("/a/b/c"), routes=("GET-_",)),
    "nothing there": Scenario(lambda stage: tree(), get("/a"), routes=("_404",), codes=(404,)),
    "a leaf as root": Scenario(lambda stage: text(b"root"), get("/a?b=c"), routes=("GET-_root",)),
    "an error in getChild": Scenario(
        lambda stage: app.Branch(app.raise_error), get("/a"), routes=("GET-_",), codes=(500,), errors=1
    ),
    # Rendering it
    "NOT_DONE_YET": Scenario(lambda stage: tree(a=Page(app.answer_later(b"late"))), get("/a"), slow=True),
    "NOT_DONE_YET of a leaf as root": Scenario(
        lambda stage: Page(app.answer_later(b"late")), get(), routes=("GET-_root",), slow=True
    ),
    "a streamed answer": Scenario(lambda stage: tree(a=Page(app.write_slowly(TEXT, TEXT))), get("/a"), slow=True),
    "an empty answer": Scenario(lambda stage: tree(a=text(b"")), get("/a")),
    "no content": Scenario(lambda stage: tree(a=Page(no_content)), get("/a"), codes=(204,)),
    "a route with a name of its own": Scenario(
        lambda stage: app.Branch(lambda name: Page(named)), get("/7"), routes=("GET-numbers-_n",)
    ),
    "finished by its own render": Scenario(lambda stage: tree(a=Page(finish_itself)), get("/a")),
    "a deferred resource": Scenario(
        lambda stage: app.found_later(text(b"at last")), get("/a"), routes=("GET-_",), slow=True
    ),
    "an error in render": Scenario(lambda stage: tree(a=Page(app.raise_error)), get("/a"), codes=(500,), errors=1),
    "an error in render of a leaf as root": Scenario(
        lambda stage: Page(app.raise_error), get(), routes=("GET-_root",), codes=(500,), errors=1
    ),
    "an answer that is no bytes": Scenario(lambda stage: tree(a=Page(lambda request: "text")), get("/a"), codes=(500,)),
    "an answer that is no bytes of a leaf as root": Scenario(
        lambda stage: Page(lambda request: "text"), get("/a"), routes=("GET-_root",), codes=(500,)
    ),
    # The client goes away
    "gone before the first byte": Scenario(
        lambda stage: app.Never(), hang_up, routes=("GET-_root",), codes=(), aborted=1, sent=0
    ),
    "gone after some bytes": Scenario(
        lambda stage: app.Never(TEXT), hang_up_early, routes=("GET-_root",), codes=(), aborted=1, sent=len(TEXT)
    ),
    "gone and finished later": Scenario(
        lambda stage: app.Never(then=app.finish_in_vain),
        finish_too_late,
        routes=("GET-_root",),
        codes=(),
        aborted=1,
        sent=0,
    ),
    "lost by its own render": Scenario(lambda stage: tree(a=Page(abort)), get("/a"), codes=(), aborted=1, sent=0),
    # Long-lived
    "server-sent events": Scenario(
        lambda stage: tree(a=Page(app.first(app.send_events, app.write_slowly(b"data: 1\n\n", b"data: 2\n\n")))),
        get("/a"),
        long_lived=1,
        slow=True,
    ),
    "server-sent events that begin later": Scenario(
        lambda stage: app.found_later(Page(app.first(app.send_events, app.answer_later(b"data: 1\n\n")))),
        get("/a"),
        routes=("GET-_",),
        long_lived=1,
        slow=True,
    ),
    "server-sent events whose client goes away": Scenario(
        lambda stage: app.Never(TEXT, before=app.send_events),
        hang_up_early,
        routes=("GET-_root",),
        codes=(),
        aborted=1,
        long_lived=1,
        sent=len(TEXT),
    ),
    "server-sent events that are over at once": Scenario(
        lambda stage: tree(a=Page(app.first(app.send_events, lambda request: b"data: 1\n\n"))), get("/a")
    ),
    "a long poll": Scenario(
        lambda stage: tree(a=Page(app.first(set_long_lived, app.answer_later(b"news")))),
        get("/a"),
        long_lived=1,
        slow=True,
    ),
    "a long poll whose client goes away": Scenario(
        lambda stage: app.Never(before=set_long_lived),
        hang_up,
        routes=("GET-_root",),
        codes=(),
        aborted=1,
        long_lived=1,
        sent=0,
    ),
    # Methods
    "an unknown method": Scenario(
        lambda stage: text(b"x"), say(request(method="BREW")), routes=("OTHER-_root",), codes=(501,)
    ),
    "a method that is not allowed": Scenario(
        lambda stage: app.OnlyGet(echo), say(request(method="POST")), routes=("POST-_root",), codes=(405,)
    ),
    "HEAD": Scenario(
        lambda stage: tree(a=text(TEXT)), say(request("/a", method="HEAD")), routes=("HEAD-a",), method="HEAD"
    ),
    "HEAD of its own": Scenario(
        lambda stage: app.OwnHead(echo), say(request(method="HEAD")), routes=("HEAD-_root",), method="HEAD"
    ),
    "HEAD that is faked": Scenario(
        lambda stage: tree(a=app.OnlyGet(lambda request: TEXT)),
        say(request("/a", method="HEAD")),
        routes=("HEAD-a",),
        method="HEAD",
    ),
    "HEAD that is faked for a leaf as root": Scenario(
        lambda stage: app.OnlyGet(lambda request: TEXT),
        say(request(method="HEAD")),
        routes=("HEAD-_root",),
        method="HEAD",
    ),
    "HEAD that is faked and got away": Scenario(
        lambda stage: tree(a=app.OnlyGet(app.answer_later(b"late"))),
        head_that_got_away,
        routes=("HEAD-a",),
        method="HEAD",
    ),
    "POST with a body": Scenario(
        lambda stage: tree(a=Page(echo)),
        say(request("/a", method="POST", body=TEXT)),
        routes=("POST-a",),
        received=len(TEXT),
    ),
    "POST of a form": Scenario(
        lambda stage: Page(lambda request: request.args[b"name"][0]),
        say(request("/", "Content-Type: application/x-www-form-urlencoded", method="POST", body=b"name=will")),
        routes=("POST-_root",),
        received=9,
    ),
    "POST in chunks": Scenario(
        lambda stage: tree(a=Page(echo)),
        say(
            request("/a", "Transfer-Encoding: chunked", method="POST"),
            b"5\r\nall's\r\n" + b"5\r\n well\r\n" + b"0\r\n\r\n",
        ),
        routes=("POST-a",),
        received=10,
    ),
    "POST of more than fits in memory": Scenario(
        lambda stage: tree(a=Page(echo)),
        say(request("/a", method="POST", body=60 * TEXT)),
        routes=("POST-a",),
        received=60 * len(TEXT),
    ),
    # What never reaches a resource
    "OPTIONS *": Scenario(
        lambda stage: tree(a=text(b"x")), say(request("*", method="OPTIONS")), routes=("OPTIONS-_star",), invisible=True
    ),
    "OPTIONS * on a known connection": Scenario(
        lambda stage: tree(a=text(b"x")),
        say(request("/a", close=False), request("*", method="OPTIONS")),
        routes=("GET-a", "OPTIONS-_star"),
        codes=(200, 200),
    ),
    "GET *": Scenario(
        lambda stage: tree(a=text(b"x")), say(request("*")), routes=("GET-_star",), codes=(405,), invisible=True
    ),
    "nonsense": Scenario(lambda stage: tree(a=text(b"x")), say(b"nonsense\r\n\r\n"), routes=(), codes=(), sent=0),
    # Connections
    "kept alive": Scenario(
        two_pages(text(b"the first"), text(b"the second")), say_two, routes=("GET-a", "GET-b"), codes=(200, 200)
    ),
    "a pipeline": Scenario(
        two_pages(text(b"the first"), Page(app.raise_error)),
        say(request("/a", close=False), request("/b", close=False), request("/c")),
        routes=("GET-a", "GET-b", "_404"),
        codes=(200, 500, 404),
        errors=1,
    ),
    "a slow pipeline": Scenario(
        two_pages(Page(app.answer_later(b"1")), Page(app.answer_later(b"2"))),
        say(request("/a", close=False), request("/b")),
        routes=("GET-a", "GET-b"),
        codes=(200, 200),
        slow=True,
    ),
    "a root that is replaced": Scenario(
        lambda stage: tree(a=Page(app.first(replace_root, lambda request: b"the first"))),
        say_two,
        routes=("GET-a", "GET-b"),
        codes=(200, 200),
    ),
    "HTTP/1.0": Scenario(lambda stage: tree(a=Page(app.answer_later(TEXT))), say(request("/a", version="1.0"))),
    # Encoding
    "gzip": Scenario(lambda stage: tree(a=app.gzipped(text(TEXT))), get("/a", "Accept-Encoding: gzip")),
    "gzip of a leaf as root": Scenario(
        lambda stage: app.gzipped(text(TEXT)), get("/", "Accept-Encoding: gzip"), routes=("GET-_root",)
    ),
    "gzip that is not wanted": Scenario(lambda stage: app.gzipped(text(TEXT)), get(), routes=("GET-_root",)),
    "gzip, later": Scenario(
        lambda stage: app.gzipped(Page(app.answer_later(TEXT))),
        get("/", "Accept-Encoding: gzip"),
        routes=("GET-_root",),
        slow=True,
    ),
    # Files and scripts
    "a file": Scenario(app.files, get("/hello.txt"), routes=("GET-_root",)),
    "a range of a file": Scenario(
        app.files, get("/hello.txt", "Range: bytes=10-19"), routes=("GET-_root",), codes=(206,)
    ),
    "ranges of a file": Scenario(
        app.files, get("/hello.txt", "Range: bytes=0-4,10-19"), routes=("GET-_root",), codes=(206,)
    ),
    "no range of a file": Scenario(
        app.files, get("/hello.txt", "Range: bytes=5000-"), routes=("GET-_root",), codes=(416,)
    ),
    "the index of a directory": Scenario(app.files, get("/"), routes=("GET-_root",)),
    "a directory without its slash": Scenario(app.files, get("/below"), routes=("GET-_root",), codes=(302,)),
    "an unchanged file": Scenario(
        app.files,
        get("/hello.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
        routes=("GET-_root",),
        codes=(304,),
    ),
    "the HEAD of a file": Scenario(
        app.files, say(request("/hello.txt", method="HEAD")), routes=("HEAD-_root",), method="HEAD"
    ),
    "no file": Scenario(app.files, get("/nothing"), routes=("_404",), codes=(404,)),
    "a script among files": Scenario(app.files, get("/page.rpy"), routes=("GET-_",)),
    "a directory of scripts": Scenario(app.scripts, get("/page.rpy"), routes=("GET-_",)),
    # Other resources that come with Twisted
    "a redirect": Scenario(lambda stage: Redirect(b"/elsewhere"), get(), routes=("GET-_root",), codes=(302,)),
    "a virtual host": Scenario(
        lambda stage: virtual_host(one=tree(a=text(b"one"))), say(request("/a", host="one")), routes=("GET-one-a",)
    ),
    "a virtual host that is a leaf": Scenario(
        lambda stage: virtual_host(one=text(b"one")), say(request(host="one")), routes=("GET-one",)
    ),
    "an unknown virtual host": Scenario(
        lambda stage: virtual_host(one=text(b"one")), get(), routes=("_404",), codes=(404,)
    ),
    "a virtual host by path": Scenario(
        lambda stage: tree(vhost=VHostMonsterResource(), a=Page(lambda request: request.getRequestHostname())),
        get("/vhost/http/one.example:80/a"),
    ),
    "a rewriter": Scenario(
        lambda stage: RewriterResource(tree(new=text(b"new")), rewrite), get("/old"), routes=("GET-new",)
    ),
    "an unauthorised client": Scenario(
        lambda stage: app.guarded(text(b"secret")), get(), routes=("GET-_root",), codes=(401,)
    ),
    "an authorised client": Scenario(
        lambda stage: app.guarded(text(b"secret")),
        get("/", "Authorization: Basic d2lsbDpnbG9iZQ=="),
        routes=("GET-_root",),
        slow=True,
    ),
    "WSGI": Scenario(app.wsgi, get("/a/b"), routes=("GET-_root",)),
    "a reverse proxy": Scenario(app.proxy, get("/there"), routes=("GET-_root",)),
    "a distributed site": Scenario(lambda stage: tree(a=app.subscription(stage)), get("/a/b")),
    "a distributed site as root": Scenario(app.subscription, get("/a/b"), routes=("GET-_root",)),
    "a wrapper among the resources": Scenario(
        lambda stage: tree(a=TimedResource(tree(b=text(b"within")), MetricsRegistry())),
        get("/a/b"),
        routes=("GET-a-b",),
    ),
    "a leaf in a wrapper": Scenario(lambda stage: tree(a=TimedResource(text(b"leaf"), MetricsRegistry())), get("/a")),
    "a Site in a Site": Scenario(
        lambda stage: tree(a=Site(TimedResource(tree(b=text(b"b")), MetricsRegistry()))),
        get("/a/b"),
        routes=("GET-a-b",),
    ),
    "data": Scenario(lambda stage: tree(a=Data(TEXT, "text/plain")), get("/a")),
    # Klein
    "Klein": Scenario(lambda stage: app.klein().resource(), get(), routes=("GET-_root",)),
    "Klein with a Deferred": Scenario(
        lambda stage: app.klein().resource(), get("/item/7"), routes=("GET-item-_number",), slow=True
    ),
    "Klein with a coroutine": Scenario(
        lambda stage: app.klein().resource(), get("/coroutine"), routes=("GET-coroutine",), slow=True
    ),
    "Klein below a resource": Scenario(
        lambda stage: tree(a=app.klein().resource()), get("/a/item/7"), routes=("GET-a-item-_number",), slow=True
    ),
    "Klein that finds nothing": Scenario(
        lambda stage: app.klein().resource(), get("/nothing"), routes=("_404",), codes=(404,)
    ),
    "Klein with an error": Scenario(
        lambda stage: app.klein().resource(), get("/error"), routes=("GET-error",), codes=(500,), errors=1
    ),
    "Klein with a late error": Scenario(
        lambda stage: app.klein().resource(),
        get("/late-error"),
        routes=("GET-late-error",),
        codes=(500,),
        errors=1,
        slow=True,
    ),
    "Klein with a branch": Scenario(lambda stage: app.klein().resource(), get("/branch/leaf"), routes=("GET-branch",)),
    "Klein whose client goes away": Scenario(
        lambda stage: app.klein_that_never_answers(), hang_up, routes=("GET-_root",), codes=(), aborted=1, sent=0
    ),
    # Upgrades
    "Twisted's websocket": Scenario(
        lambda stage: tree(socket=app.twisted_socket()),
        open_socket(),
        routes=("GET-socket",),
        codes=(),
        upgrades=1,
        sent=0,
    ),
    "Twisted's websocket as root": Scenario(
        lambda stage: app.twisted_socket(leaf=True), open_socket(), routes=("GET-_root",), codes=(), upgrades=1, sent=0
    ),
    "autobahn's websocket": Scenario(
        lambda stage: tree(socket=app.autobahn_socket()),
        open_socket(),
        routes=("GET-socket",),
        codes=(),
        upgrades=1,
        sent=0,
    ),
    "autobahn's websocket as root": Scenario(
        lambda stage: app.autobahn_socket(), open_socket(), routes=("GET-_root",), codes=(), upgrades=1, sent=0
    ),
    "one of several upgrades": Scenario(
        lambda stage: tree(socket=app.autobahn_socket()),
        open_socket(upgrade="h2c, WebSocket"),
        routes=("GET-socket",),
        codes=(),
        upgrades=1,
        sent=0,
    ),
    "a websocket found later": Scenario(
        lambda stage: app.found_later(app.autobahn_socket()),
        open_socket(),
        routes=("GET-_",),
        codes=(),
        upgrades=1,
        sent=0,
    ),
    "a websocket found later by Klein": Scenario(
        lambda stage: app.klein().resource(), open_socket(), routes=("GET-socket",), codes=(), upgrades=1, sent=0
    ),
    "a failed websocket handshake": Scenario(
        lambda stage: tree(socket=app.twisted_socket()),
        get("/socket", "Upgrade: websocket"),
        routes=("GET-socket",),
        codes=(400,),
        errors=1,
    ),
    "an upgrade to a websocket that is ignored": Scenario(
        lambda stage: tree(a=text(b"no socket")), get("/a", "Upgrade: websocket")
    ),
    "an upgrade to a websocket that is ignored, slowly": Scenario(
        lambda stage: tree(a=Page(app.answer_later(b"no socket"))), get("/a", "Upgrade: websocket"), slow=True
    ),
    "an upgrade to HTTP/2 that is ignored": Scenario(lambda stage: tree(a=text(b"no")), get("/a", "Upgrade: h2c")),
}


def bare(root: Any, registry: MetricsRegistry) -> Site:
    return Site(root)


def wrapped(root: Any, registry: MetricsRegistry) -> Site:
    return Site(TimedResource(root, registry))


def measured(root: Any, registry: MetricsRegistry) -> Site:
    site = Site(root)
    measure_site(site, registry)
    return site


async def play(scenario: Scenario, stage: Stage, serve: Callable[..., Site], registry: MetricsRegistry) -> bytes:
    """One performance; returns what the client received."""
    root = scenario.root(stage)
    client = await stage.connect(stage.serve(serve(root, registry)))
    await scenario.talk(client, root)
    return client.received


def expected(scenario: Scenario, received: bytes) -> dict[str, object]:
    """What is to be counted, by what was received."""
    answered = answers(received, scenario.method) if scenario.codes else []
    assert tuple(answer.code for answer in answered) == scenario.codes
    requests = len(answered) + scenario.aborted + scenario.upgrades
    sent = sum(len(answer.body) for answer in answered) if scenario.sent is None else scenario.sent
    numbers = Tally(f"{answer.code // 100}xx" for answer in answered)
    numbers.update(requests=requests - scenario.long_lived, long_lived=scenario.long_lived, blocking=requests)
    numbers.update(aborted=scenario.aborted, upgrades=scenario.upgrades)
    numbers.update(bytes_sent=sent, bytes_received=scenario.received)
    return {metric: number for metric, number in numbers.items() if number}


def errors(logged: Logged) -> list[bytes]:
    """The last line of each error that Twisted has logged; they are expected hereby."""
    return [normal(text.strip().splitlines()[-1].encode()) for text in logged.flush_text("")]


def check_times(scenario: Scenario, registry: MetricsRegistry) -> None:
    """The durations are those of the answers, as far as that can be known on a busy machine."""
    all_of_it = registry.timer("http.long_lived" if scenario.long_lived else "http.requests").sum
    blocking, first_byte = registry.timer("http.blocking"), registry.timer("http.first_byte")
    assert 0 <= blocking.sum <= all_of_it < 20
    assert 0 <= first_byte.sum <= all_of_it
    assert first_byte.count == len(scenario.codes) + (scenario.aborted and bool(scenario.sent))
    if scenario.slow:
        assert all_of_it > 0.9 * DELAY * len(scenario.codes)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.filterwarnings("ignore:Warning! request.finish called twice")  # by a HEAD that got away
@pytest_twisted.ensureDeferred
async def test_each_request_is_counted_once_and_answered_the_same(stage: Stage, logged: Logged, name: str) -> None:
    """A measured Site sends and logs what a bare one does, and counts what the client saw, no more and no less."""
    scenario = SCENARIOS[name]
    right = await play(scenario, stage, bare, MetricsRegistry())
    right_errors = errors(logged)
    assert len(right_errors) == scenario.errors

    for serve in (wrapped, measured):
        registry = MetricsRegistry()
        received = await play(scenario, stage, serve, registry)
        assert normal(received) == normal(right)
        assert errors(logged) == right_errors
        if scenario.invisible and serve is wrapped:
            assert counted(registry) == {}
            continue
        assert counted(registry) == expected(scenario, received)
        assert routes(registry) == Tally(scenario.routes)
        check_sums(registry)
        check_times(scenario, registry)
