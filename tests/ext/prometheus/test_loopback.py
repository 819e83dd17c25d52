"""Over real connections: a reader that is slow, one that is gone, and several at once."""

from __future__ import annotations

import gzip

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.instrument.web.loopback import Stage, answers, request
from tests.instrument.web.test_web_tls import Authority, Http2Client
from tests.prometheus import read_text, samples
from tests.strict import the_reactor
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.ext.prometheus import ScrapeResource

MANY = 8_000


LAST = f"part{MANY - 1}_counted_total {MANY - 1}\n".encode()


def a_site(stage: Stage) -> tuple[MetricsRegistry, Site]:
    """A site that measures itself and tells so, with many metrics."""
    registry = MetricsRegistry()
    for number in range(MANY):
        registry.counter(f"part{number}.counted").inc(number)
    root = Resource()
    root.putChild(b"metrics", ScrapeResource(registry))
    # What was rendered is kept for a moment, and then forgotten.
    stage.at_end(lambda: deferLater(the_reactor(), 1))
    return registry, Site(TimedResource(root, registry))


@pytest_twisted.ensureDeferred
async def test_a_slow_reader_and_others_at_once(stage: Stage) -> None:
    """One that stops reading gets everything in the end; others meanwhile, compressed or not."""
    registry, site = a_site(stage)
    port = stage.serve(site)
    slow, plain, compressed = [await stage.connect(port) for _ in range(3)]
    slow.send(request("/metrics"))
    await slow.until(b"# HELP")
    slow.transport.pauseProducing()
    plain.send(request("/metrics"))
    compressed.send(request("/metrics", "Accept-Encoding: gzip"))
    await plain.closed()
    await compressed.closed()
    [told] = answers(plain.received)
    assert told.code == 200
    assert len(samples(read_text(told.body))) > MANY
    assert LAST in told.body
    [zipped] = answers(compressed.received)
    assert LAST in gzip.decompress(zipped.body)
    slow.transport.resumeProducing()
    await slow.closed()
    [late] = answers(slow.received)
    assert late.code == 200
    assert len(samples(read_text(late.body))) > MANY
    assert registry.counter("http.status.2xx").count == 3


@pytest_twisted.ensureDeferred
async def test_a_client_that_hangs_up(stage: Stage) -> None:
    """Before the answer and in the middle of it: it is over for both, and the server serves on."""
    registry, site = a_site(stage)
    port = stage.serve(site)
    early, late, patient = [await stage.connect(port) for _ in range(3)]
    early.send(request("/metrics"))
    early.hang_up()
    late.send(request("/metrics"))
    await late.until(b"# HELP")
    late.hang_up()
    patient.send(request("/metrics"))
    await patient.closed()
    [told] = answers(patient.received)
    assert told.code == 200
    assert registry.counter("http.status.2xx").count == 1


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # by Twisted itself
@pytest_twisted.ensureDeferred
async def test_over_http2(stage: Stage) -> None:
    """Several streams of one connection: one wants no more of it, the others get everything."""
    _, site = a_site(stage)
    client = await Authority().connect(stage, site, Http2Client(), b"h2")
    plain, gone, compressed = (client.ask("/metrics", **headers) for headers in ({}, {}, {"accept-encoding": "gzip"}))
    client.reset(gone)
    head = client.ask("/metrics", method="HEAD")
    told, zipped, nothing = await client.answered(plain, compressed, head)
    assert [told[0], zipped[0], nothing] == ["200", "200", ("200", b"")]
    assert LAST in told[1]
    assert LAST in gzip.decompress(zipped[1])
    client.transport.abortConnection()
