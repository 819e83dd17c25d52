"""Every shape of a request, played twice, bare and measured: the same bytes on the wire, and each request counted once.

What has to be counted is read off the wire, from the answers as a client understands them.
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
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Data
from twisted.web.util import Redirect
from twisted.web.vhost import NameVirtualHost, VHostMonsterResource

from tests.instrument.web import applications as app
from tests.instrument.web.applications import DELAY, TEXT, Page, text, tree
from tests.instrument.web.loopback import GOODBYE, HELLO, Client, Stage, answers, counted, handshake, normal, request
from tests.strict import Logged, the_reactor
from txmetrics import MetricsRegistry, TimedResource

Talk = Callable[[Client, Any], Awaitable[None]]


class Scenario(NamedTuple):
    """What is served, what the client says, and what comes of it."""

    root: Callable[[Stage], Any]
    talk: Talk
    codes: tuple[int, ...] = (200,)
    method: str = "GET"
    aborted: int = 0
    upgrades: int = 0
    sent: int | None = None
    """Body bytes; None: as many as the answers have."""
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
    "nested": Scenario(lambda stage: tree(a=tree(b=tree(c=text(b"nested")))), get("/a/b/c")),
    "children found dynamically": Scenario(lambda stage: app.Branch(lambda name: text(name)), get("/child")),
    "a resource that is its own child": Scenario(lambda stage: app.Endless(), get("/a/b/c")),
    "nothing there": Scenario(lambda stage: tree(), get("/a"), codes=(404,)),
    "a leaf as root": Scenario(lambda stage: text(b"root"), get("/a?b=c")),
    "an error in getChild": Scenario(lambda stage: app.Branch(app.raise_error), get("/a"), codes=(500,), errors=1),
    # Rendering it
    "NOT_DONE_YET": Scenario(lambda stage: tree(a=Page(app.answer_later(b"late"))), get("/a"), slow=True),
    "NOT_DONE_YET of a leaf as root": Scenario(lambda stage: Page(app.answer_later(b"late")), get(), slow=True),
    "finished by its own render": Scenario(lambda stage: tree(a=Page(finish_itself)), get("/a")),
    "a deferred resource": Scenario(lambda stage: app.found_later(text(b"at last")), get("/a"), slow=True),
    "an error in render": Scenario(lambda stage: tree(a=Page(app.raise_error)), get("/a"), codes=(500,), errors=1),
    "an error in render of a leaf as root": Scenario(
        lambda stage: Page(app.raise_error), get(), codes=(500,), errors=1
    ),
    "an answer that is no bytes": Scenario(lambda stage: tree(a=Page(lambda request: "text")), get("/a"), codes=(500,)),
    "an answer that is no bytes of a leaf as root": Scenario(
        lambda stage: Page(lambda request: "text"), get("/a"), codes=(500,)
    ),
    # The client goes away
    "gone before the first byte": Scenario(lambda stage: app.Never(), hang_up, codes=(), aborted=1, sent=0),
    "gone after some bytes": Scenario(
        lambda stage: app.Never(TEXT), hang_up_early, codes=(), aborted=1, sent=len(TEXT)
    ),
    "gone and finished later": Scenario(
        lambda stage: app.Never(then=app.finish_in_vain), finish_too_late, codes=(), aborted=1, sent=0
    ),
    # Methods
    "an unknown method": Scenario(lambda stage: text(b"x"), say(request(method="BREW")), codes=(501,)),
    "a method that is not allowed": Scenario(
        lambda stage: app.OnlyGet(echo), say(request(method="POST")), codes=(405,)
    ),
    "HEAD": Scenario(lambda stage: tree(a=text(TEXT)), say(request("/a", method="HEAD")), method="HEAD"),
    "HEAD of its own": Scenario(lambda stage: app.OwnHead(echo), say(request(method="HEAD")), method="HEAD"),
    "HEAD that is faked": Scenario(
        lambda stage: tree(a=app.OnlyGet(lambda request: TEXT)), say(request("/a", method="HEAD")), method="HEAD"
    ),
    "HEAD that is faked for a leaf as root": Scenario(
        lambda stage: app.OnlyGet(lambda request: TEXT), say(request(method="HEAD")), method="HEAD"
    ),
    "HEAD that is faked and got away": Scenario(
        lambda stage: tree(a=app.OnlyGet(app.answer_later(b"late"))), head_that_got_away, method="HEAD"
    ),
    "POST with a body": Scenario(lambda stage: tree(a=Page(echo)), say(request("/a", method="POST", body=TEXT))),
    "POST of a form": Scenario(
        lambda stage: Page(lambda request: request.args[b"name"][0]),
        say(request("/", "Content-Type: application/x-www-form-urlencoded", method="POST", body=b"name=will")),
    ),
    # What never reaches a resource is not measured
    "OPTIONS *": Scenario(lambda stage: tree(a=text(b"x")), say(request("*", method="OPTIONS")), codes=(), sent=0),
    "nonsense": Scenario(lambda stage: tree(a=text(b"x")), say(b"nonsense\r\n\r\n"), codes=(), sent=0),
    # Connections
    "kept alive": Scenario(two_pages(text(b"the first"), text(b"the second")), say_two, codes=(200, 200)),
    "a pipeline": Scenario(
        two_pages(text(b"the first"), Page(app.raise_error)),
        say(request("/a", close=False), request("/b", close=False), request("/c")),
        codes=(200, 500, 404),
        errors=1,
    ),
    "a slow pipeline": Scenario(
        two_pages(Page(app.answer_later(b"1")), Page(app.answer_later(b"2"))),
        say(request("/a", close=False), request("/b")),
        codes=(200, 200),
        slow=True,
    ),
    "HTTP/1.0": Scenario(lambda stage: tree(a=Page(app.answer_later(TEXT))), say(request("/a", version="1.0"))),
    # Encoding
    "gzip": Scenario(lambda stage: tree(a=app.gzipped(text(TEXT))), get("/a", "Accept-Encoding: gzip")),
    "gzip of a leaf as root": Scenario(lambda stage: app.gzipped(text(TEXT)), get("/", "Accept-Encoding: gzip")),
    "gzip that is not wanted": Scenario(lambda stage: app.gzipped(text(TEXT)), get()),
    "gzip, later": Scenario(
        lambda stage: app.gzipped(Page(app.answer_later(TEXT))), get("/", "Accept-Encoding: gzip"), slow=True
    ),
    # Files and scripts
    "a file": Scenario(app.files, get("/hello.txt")),
    "a range of a file": Scenario(app.files, get("/hello.txt", "Range: bytes=10-19"), codes=(206,)),
    "ranges of a file": Scenario(app.files, get("/hello.txt", "Range: bytes=0-4,10-19"), codes=(206,)),
    "no range of a file": Scenario(app.files, get("/hello.txt", "Range: bytes=5000-"), codes=(416,)),
    "the index of a directory": Scenario(app.files, get("/")),
    "a directory without its slash": Scenario(app.files, get("/below"), codes=(302,)),
    "an unchanged file": Scenario(
        app.files, get("/hello.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"), codes=(304,)
    ),
    "no file": Scenario(app.files, get("/nothing"), codes=(404,)),
    "a script among files": Scenario(app.files, get("/page.rpy")),
    "a directory of scripts": Scenario(app.scripts, get("/page.rpy")),
    # Other resources that come with Twisted
    "a redirect": Scenario(lambda stage: Redirect(b"/elsewhere"), get(), codes=(302,)),
    "a virtual host": Scenario(lambda stage: virtual_host(one=tree(a=text(b"one"))), say(request("/a", host="one"))),
    "a virtual host that is a leaf": Scenario(lambda stage: virtual_host(one=text(b"one")), say(request(host="one"))),
    "an unknown virtual host": Scenario(lambda stage: virtual_host(one=text(b"one")), get(), codes=(404,)),
    "a virtual host by path": Scenario(
        lambda stage: tree(vhost=VHostMonsterResource(), a=Page(lambda request: request.getRequestHostname())),
        get("/vhost/http/one.example:80/a"),
    ),
    "a rewriter": Scenario(lambda stage: RewriterResource(tree(new=text(b"new")), rewrite), get("/old")),
    "an unauthorised client": Scenario(lambda stage: app.guarded(text(b"secret")), get(), codes=(401,)),
    "an authorised client": Scenario(
        lambda stage: app.guarded(text(b"secret")), get("/", "Authorization: Basic d2lsbDpnbG9iZQ=="), slow=True
    ),
    "WSGI": Scenario(app.wsgi, get("/a/b")),
    "a reverse proxy": Scenario(app.proxy, get("/there")),
    "a distributed site": Scenario(lambda stage: tree(a=app.subscription(stage)), get("/a/b")),
    "a distributed site as root": Scenario(app.subscription, get("/a/b")),
    "data": Scenario(lambda stage: tree(a=Data(TEXT, "text/plain")), get("/a")),
    # Klein
    "Klein": Scenario(lambda stage: app.klein().resource(), get()),
    "Klein with a Deferred": Scenario(lambda stage: app.klein().resource(), get("/item/7"), slow=True),
    "Klein with a coroutine": Scenario(lambda stage: app.klein().resource(), get("/coroutine"), slow=True),
    "Klein below a resource": Scenario(lambda stage: tree(a=app.klein().resource()), get("/a/item/7"), slow=True),
    "Klein that finds nothing": Scenario(lambda stage: app.klein().resource(), get("/nothing"), codes=(404,)),
    "Klein with an error": Scenario(lambda stage: app.klein().resource(), get("/error"), codes=(500,), errors=1),
    "Klein with a late error": Scenario(
        lambda stage: app.klein().resource(), get("/late-error"), codes=(500,), errors=1, slow=True
    ),
    "Klein with a branch": Scenario(lambda stage: app.klein().resource(), get("/branch/leaf")),
    "Klein whose client goes away": Scenario(
        lambda stage: app.klein_that_never_answers(), hang_up, codes=(), aborted=1, sent=0
    ),
    # Upgrades
    "Twisted's websocket": Scenario(
        lambda stage: tree(socket=app.twisted_socket()), open_socket(), codes=(), upgrades=1, sent=0
    ),
    "Twisted's websocket as root": Scenario(
        lambda stage: app.twisted_socket(leaf=True), open_socket(), codes=(), upgrades=1, sent=0
    ),
    "autobahn's websocket": Scenario(
        lambda stage: tree(socket=app.autobahn_socket()), open_socket(), codes=(), upgrades=1, sent=0
    ),
    "autobahn's websocket as root": Scenario(
        lambda stage: app.autobahn_socket(), open_socket(), codes=(), upgrades=1, sent=0
    ),
    "one of several upgrades": Scenario(
        lambda stage: tree(socket=app.autobahn_socket()),
        open_socket(upgrade="h2c, WebSocket"),
        codes=(),
        upgrades=1,
        sent=0,
    ),
    "a websocket found later": Scenario(
        lambda stage: app.found_later(app.autobahn_socket()), open_socket(), codes=(), upgrades=1, sent=0
    ),
    "a websocket found later by Klein": Scenario(
        lambda stage: app.klein().resource(), open_socket(), codes=(), upgrades=1, sent=0
    ),
    "a failed websocket handshake": Scenario(
        lambda stage: tree(socket=app.twisted_socket()), get("/socket", "Upgrade: websocket"), codes=(400,), errors=1
    ),
    "an upgrade to a websocket that is ignored": Scenario(
        lambda stage: tree(a=text(b"no socket")), get("/a", "Upgrade: websocket")
    ),
    "an upgrade to a websocket that is ignored, slowly": Scenario(
        lambda stage: tree(a=Page(app.answer_later(b"no socket"))), get("/a", "Upgrade: websocket"), slow=True
    ),
    "an upgrade to HTTP/2 that is ignored": Scenario(lambda stage: tree(a=text(b"no")), get("/a", "Upgrade: h2c")),
}


async def play(scenario: Scenario, stage: Stage, registry: MetricsRegistry | None = None) -> bytes:
    """One performance, measured if there is a registry; returns what the client received."""
    root = scenario.root(stage)
    client = await stage.connect(stage.serve(root if registry is None else TimedResource(root, registry)))
    await scenario.talk(client, root)
    return client.received


def expected(scenario: Scenario, received: bytes) -> dict[str, object]:
    """What is to be counted, by what was received."""
    answered = answers(received, scenario.method) if scenario.codes else []
    assert tuple(answer.code for answer in answered) == scenario.codes
    requests = len(answered) + scenario.aborted + scenario.upgrades
    sent = sum(len(answer.body) for answer in answered) if scenario.sent is None else scenario.sent
    numbers = Tally(f"{answer.code // 100}xx" for answer in answered)
    numbers.update(
        requests=requests, blocking=requests, aborted=scenario.aborted, upgrades=scenario.upgrades, bytes_sent=sent
    )
    return {metric: number for metric, number in numbers.items() if number}


def errors(logged: Logged) -> list[bytes]:
    """The last line of each error that Twisted has logged; they are expected hereby."""
    return [normal(text.strip().splitlines()[-1].encode()) for text in logged.flush_text("")]


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.filterwarnings("ignore:Warning! request.finish called twice")  # by a HEAD that got away
@pytest_twisted.ensureDeferred
async def test_each_request_is_counted_once_and_answered_the_same(stage: Stage, logged: Logged, name: str) -> None:
    """A measured Site sends and logs what a bare one does, and counts what the client saw, no more and no less."""
    scenario = SCENARIOS[name]
    bare = await play(scenario, stage)
    bare_errors = errors(logged)
    assert len(bare_errors) == scenario.errors

    registry = MetricsRegistry()
    measured = await play(scenario, stage, registry)

    assert normal(measured) == normal(bare)
    assert errors(logged) == bare_errors
    assert counted(registry) == expected(scenario, measured)
    requests, blocking = registry.timer("http.requests"), registry.timer("http.blocking")
    assert 0 <= blocking.sum <= requests.sum < 20
    if scenario.slow:
        assert requests.sum > 0.9 * DELAY * len(scenario.codes)
