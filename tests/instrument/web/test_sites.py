"""Finding the Sites of an application that knows nothing of us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import trustme
from twisted.application.internet import SSLServer, StreamServerEndpointService, TCPServer, UNIXServer
from twisted.application.service import Application, IService, IServiceCollection, MultiService, Service
from twisted.application.strports import service as strports_service
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.instrument.web.applications import text
from tests.instrument.web.loopback import HOST, Stage, answers, counted, request
from tests.strict import the_reactor
from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument import MeasuredSites, leave_unmeasured, measure_site
from txmetrics.instrument._search import factories_of, listening_ports, unwrapped
from txmetrics.testing import FakeReactor


def sites_of(service: Any) -> list[Site]:
    return [each for each in factories_of(service) if isinstance(each, Site)]


def listening_sites(reactor: Any) -> list[Site]:
    factories = [each for port in listening_ports(reactor) for each in unwrapped(getattr(port, "factory", None))]
    return [each for each in factories if isinstance(each, Site)]


@pytest.fixture
def site() -> Site:
    return Site(Resource())


def collection(*services: Any) -> MultiService:
    parent = MultiService()
    for each in services:
        each.setServiceParent(parent)
    return parent


def application(service: Any) -> Any:
    whole = Application("whole")
    service.setServiceParent(IServiceCollection(whole))
    return IService(whole)


SERVICES: dict[str, Callable[[Site], Any]] = {
    "a strports service": lambda site: strports_service("tcp:0", site),
    "an haproxy strports service": lambda site: strports_service("haproxy:tcp:0", site),
    "an endpoint service": lambda site: StreamServerEndpointService(TCP4ServerEndpoint(FakeReactor(), 0), site),
    "TCPServer": lambda site: TCPServer(0, site),
    "TCPServer with more arguments": lambda site: TCPServer(0, site, 50, interface=HOST),
    "TCPServer with keywords": lambda site: TCPServer(port=0, factory=site),
    "TCPServer with one keyword": lambda site: TCPServer(0, factory=site),
    "SSLServer": lambda site: SSLServer(0, site, None),
    "UNIXServer": lambda site: UNIXServer("socket", site),
    "a wrapped Site": lambda site: TCPServer(0, WrappingFactory(site)),
    "a Site wrapped twice": lambda site: TCPServer(0, WrappingFactory(WrappingFactory(site))),
    "a collection": lambda site: collection(Service(), TCPServer(0, site)),
    "a collection of collections": lambda site: collection(collection(), collection(TCPServer(0, site))),
    "an application": lambda site: application(collection(TCPServer(0, site))),
}


@pytest.mark.parametrize("kind", SERVICES)
def test_a_site_shows_in_its_service(site: Site, kind: str) -> None:
    """Whatever kind of service will listen with a Site, and however deep in a tree."""
    assert list(sites_of(SERVICES[kind](site))) == [site]


def test_a_tls_site_shows_in_its_service(site: Site, tmp_path: Path) -> None:
    """An ``ssl:`` endpoint wraps the Site only when it listens."""
    pem = tmp_path / "server.pem"
    trustme.CA().issue_cert("site.example").private_key_and_cert_chain_pem.write_to_path(str(pem))
    assert list(sites_of(strports_service(f"ssl:0:privateKey={pem}", site))) == [site]


def test_what_is_no_site_is_passed_over() -> None:
    """Services without a factory, or with one that is no Site, have none."""
    services = [Service(), MultiService(), TCPServer(0, Factory.forProtocol(Protocol)), TCPServer(0)]
    assert list(sites_of(collection(*services))) == []


def test_every_site_of_a_tree_is_found() -> None:
    """Several Sites come in the order of their services, one that is served twice comes twice."""
    first, second = Site(Resource()), Site(Resource())
    tree = collection(TCPServer(0, first), collection(TCPServer(0, second), UNIXServer("socket", first)))
    assert list(sites_of(tree)) == [first, second, first]


# Sites that listen already


class ByItself(Service):
    """A service that listens when it starts, in a way that no one can know before."""

    def __init__(self, listen: Callable[[], Any]) -> None:
        self._listen = listen

    def startService(self) -> None:
        super().startService()
        self.port = self._listen()


def test_a_site_that_listens_by_itself_shows_in_the_reactor(stage: Stage, site: Site) -> None:
    """It is not to be seen in the service, and among the reactor's readers once it listens."""
    service = ByItself(lambda: stage.listen(site))
    assert list(sites_of(service)) == []
    assert site not in listening_sites(the_reactor())
    service.startService()
    assert list(listening_sites(the_reactor())).count(site) == 1


@pytest_twisted.ensureDeferred
async def test_a_site_behind_an_endpoint_shows_in_the_reactor(stage: Stage, site: Site, tmp_path: Path) -> None:
    """On a Unix socket, and under whatever TLS and haproxy wrap around it."""
    pem = tmp_path / "server.pem"
    trustme.CA().issue_cert("site.example").private_key_and_cert_chain_pem.write_to_path(str(pem))
    for description in (
        f"unix:{tmp_path / 'socket'}",
        f"tcp:0:interface={HOST}",
        f"haproxy:tcp:0:interface={HOST}",
        f"ssl:0:interface={HOST}:privateKey={pem}",
    ):
        each = Site(Resource())
        port = await serverFromString(the_reactor(), description).listen(each)
        stage.at_end(port.stopListening)
        assert each in listening_sites(the_reactor()), description


def test_other_ports_are_passed_over(stage: Stage) -> None:
    """Ports without a Site, UDP ports among them, and reactors that have no readers to show."""
    before = list(listening_sites(the_reactor()))
    stage.listen(Factory.forProtocol(Protocol))
    udp = the_reactor().listenUDP(0, DatagramProtocol(), interface=HOST)
    stage.at_end(udp.stopListening)
    assert list(listening_sites(the_reactor())) == before
    assert list(listening_sites(object())) == []


# Instrumenting them


def test_a_site_is_instrumented_in_place_and_once(site: Site) -> None:
    """The Site stays the factory it was; a second visit finds nothing to do."""
    registry = MetricsRegistry()
    root = site.resource
    assert measure_site(site, registry) is measure_site(site, registry)
    wrapper = site.resource
    assert isinstance(wrapper, TimedResource)
    assert repr(wrapper) == repr(root)
    measure_site(site, registry)
    measure_site(site, MetricsRegistry())
    assert site.resource is wrapper


def test_a_site_that_its_author_measures_is_left_alone() -> None:
    """Whoever wrapped the root already has numbers of their own."""
    site = Site(wrapper := TimedResource(Resource(), MetricsRegistry()))
    measure_site(site, MetricsRegistry())
    assert site.resource is wrapper


@pytest_twisted.ensureDeferred
async def test_a_site_can_be_instrumented_while_it_serves(stage: Stage) -> None:
    """Requests are counted from then on, on connections that were there before as well."""
    registry = MetricsRegistry()
    client = await stage.connect(stage.serve(text(b"ok")))
    client.send(request(close=False))
    await client.until(b"ok")
    for site in listening_sites(the_reactor()):
        measure_site(site, registry)
    client.send(request())
    await client.closed()
    assert [answer.code for answer in answers(client.received)] == [200, 200]
    assert counted(registry) == {"requests": 1, "blocking": 1, "2xx": 1, "bytes_sent": 2}


@pytest_twisted.ensureDeferred
async def test_the_slowest_requests_of_all_sites_are_told_together(stage: Stage) -> None:
    """Of each Site that the service found, without those of a Site that is to be left alone."""
    service = MeasuredSites(MetricsRegistry(), reactor=the_reactor())
    ports = [stage.serve(text(b"ok")), stage.serve(text(b"ok")), stage.serve(leave_unmeasured(Site(text(b"ok"))))]
    service.startService()
    for number, port in enumerate(ports):
        client = await stage.connect(port)
        client.send(request(f"/{number}"))
        await client.closed()
    service.stopService()
    told = service.slowest()
    assert sorted(each.path for each in told) == ["/0", "/1"]
    assert [each.seconds for each in told] == sorted((each.seconds for each in told), reverse=True)
