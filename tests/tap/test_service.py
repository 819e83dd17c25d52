"""The service around the application's: it measures its Sites, and reports until the application has stopped."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.plugin import IPlugin
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from tests.strict import Logged
from tests.tap.harness import arrived, graphite, reactor
from txmetrics import MetricsRegistry, TimedResource, backends
from txmetrics.instrument._search import SEARCH
from txmetrics.reporter import Backend, Reporter
from txmetrics.tap import MeasuredService, Options, makeService
from txmetrics.tap._service import INSTRUMENTS
from txmetrics.testing import FakeReactor


def is_timed(site: Site) -> bool:
    return isinstance(site.resource, TimedResource)


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Notes whether what is to listen is measured."""

    def __init__(self) -> None:
        self.listened: list[bool] = []

    def listen(self, factory: Any) -> Deferred[Any]:
        self.listened.append(is_timed(factory))
        return succeed(Port(factory))


@implementer(IListeningPort)
class Port:
    """A port of a reactor without a network."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory

    def startListening(self) -> None: ...

    def stopListening(self) -> None: ...

    def getHost(self) -> Any: ...


def ready(service: Any, *reporters: Reporter) -> tuple[MeasuredService, FakeReactor]:
    """``service`` measured, and the reactor in which it will run."""
    fake = FakeReactor()
    return MeasuredService(service, MetricsRegistry(fake.clock), reporters, instruments=["web"], reactor=fake), fake


@pytest.mark.parametrize("privileged", [True, False])
def test_sites_in_the_tree_are_measured_before_they_listen(privileged: bool) -> None:
    """Not one request comes before the measuring, whether the runner starts with privileges (twistd) or not (twist)."""
    endpoint, tree = Endpoint(), MultiService()
    StreamServerEndpointService(endpoint, Site(Resource())).setServiceParent(tree)
    service, _ = ready(tree)
    if privileged:
        service.privilegedStartService()
        assert endpoint.listened == [True]
    service.startService()
    assert endpoint.listened == [True]
    service.stopService()


class ListensItself(Service):
    """Opens a port of its own, which no tree of services shows."""

    def __init__(self) -> None:
        self.site = Site(Resource())

    def startService(self) -> None:
        super().startService()
        self.port = reactor.listenTCP(0, self.site, interface="127.0.0.1")

    def stopService(self) -> Any:
        return self.port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_site_that_a_service_listens_with_by_itself_is_measured_at_once() -> None:
    """The ports of the running reactor are looked through right after the start."""
    inner = ListensItself()
    service = MeasuredService(inner, MetricsRegistry(), [])
    service.startService()
    assert is_timed(inner.site)
    await service.stopService()


def test_the_ports_are_looked_through_when_the_reactor_runs_and_then_again_and_again() -> None:
    """A Site that begins to listen later is found SEARCH seconds later, and nothing is looked for after the stop."""
    service, fake = ready(Service())
    first, second, third = (Site(Resource()) for _ in range(3))
    service.startService()
    fake.addReader(Port(first))
    assert not is_timed(first)
    fake.run()
    assert is_timed(first)
    fake.addReader(Port(second))
    fake.advance(SEARCH)
    assert is_timed(second)
    root = second.resource
    fake.advance(SEARCH)
    assert second.resource is root
    service.stopService()
    fake.addReader(Port(third))
    fake.advance(2 * SEARCH)
    assert not is_timed(third)
    assert fake.getDelayedCalls() == []


def test_a_service_that_is_stopped_before_the_reactor_runs_does_not_search() -> None:
    """Nothing is left in a reactor that begins later."""
    service, fake = ready(Service())
    service.startService()
    service.stopService()
    fake.run()
    assert fake.getDelayedCalls() == []


def test_a_service_can_be_stopped_without_a_start_and_started_again() -> None:
    """As with every service of Twisted's; there is one search, however often it was started."""
    service, fake = ready(Service())
    service.stopService()
    for _ in range(2):
        service.startService()
        service.stopService()
    service.startService()
    fake.run()
    assert len(fake.getDelayedCalls()) == 1
    service.stopService()
    assert fake.getDelayedCalls() == []


class Recording(Service):
    """Notes what it is told; its stop is up to the test."""

    def __init__(self, stopped: Deferred[Any] | None = None) -> None:
        self.told: list[str] = []
        self.stopped: Deferred[Any] = Deferred() if stopped is None else stopped

    def privilegedStartService(self) -> None:
        self.told.append("privilegedStartService")

    def startService(self) -> None:
        self.told.append("startService")

    def stopService(self) -> Deferred[Any]:
        self.told.append("stopService")
        return self.stopped


def test_the_service_is_told_everything_once() -> None:
    """Also that it has its privileges."""
    inner = Recording(succeed(None))
    service, _ = ready(inner)
    service.privilegedStartService()
    service.startService()
    service.stopService()
    assert inner.told == ["privilegedStartService", "startService", "stopService"]


@pytest_twisted.ensureDeferred
async def test_the_last_report_waits_for_the_service_to_stop() -> None:
    """What happens while the service stops is reported, too; the result is the service's."""
    inner, registry = Recording(), MetricsRegistry()
    async with graphite() as (receiver, endpoint):
        service = MeasuredService(inner, registry, [backends.graphite(registry, endpoint, 60)])
        service.startService()
        registry.counter("work").inc()
        stopped = service.stopService()
        await deferLater(reactor, 0.05)
        assert not stopped.called
        assert receiver.points == []
        registry.counter("work").inc()
        inner.stopped.callback("all well")
        assert await stopped == "all well"
    assert await arrived(receiver, "work.count") == 2


@pytest.mark.parametrize("raises", [True, False])
@pytest_twisted.ensureDeferred
async def test_the_failure_of_a_stop_is_passed_on_after_the_last_report(raises: bool) -> None:
    """Neither hides the other, whether the service's stop raises or its Deferred fails."""

    class Failing(Service):
        def stopService(self) -> Deferred[Any]:
            if raises:
                raise ZeroDivisionError("ours")
            return fail(ZeroDivisionError("ours"))

    registry = MetricsRegistry()
    registry.counter("work").inc()
    async with graphite() as (receiver, endpoint):
        service = MeasuredService(Failing(), registry, [backends.graphite(registry, endpoint, 60)])
        service.startService()
        with pytest.raises(ZeroDivisionError, match="ours"):
            await service.stopService()
    assert await arrived(receiver, "work.count") == 1


class Refuses(Reporter):
    """A reporter whose backend cannot be made when, say, a certificate cannot be read."""

    def __init__(self, privileged: bool) -> None:
        super().__init__(MetricsRegistry(), self.refuse)
        if privileged:
            self.privilegedStartService = self.refuse

    def refuse(self, reactor: Any = None) -> Backend:
        raise PermissionError("certificate")


@pytest.mark.parametrize("privileged", [True, False])
def test_a_reporter_that_cannot_start_does_not_keep_the_service_from_running(logged: Logged, privileged: bool) -> None:
    """The server serves on, and the log says once what it runs without."""
    inner = Recording(succeed(None))
    service, _ = ready(inner, Refuses(privileged))
    service.privilegedStartService()
    service.startService()
    assert [failure.type for failure in logged.flush()] == [PermissionError]
    service.stopService()
    assert inner.told == ["privilegedStartService", "startService", "stopService"]


def test_a_reporter_that_cannot_stop_does_not_change_the_result(logged: Logged) -> None:
    """The stop of the service is what counts; the log has the rest."""

    class Stuck(Reporter):
        def startService(self) -> None: ...

        def stopService(self) -> Deferred[None]:
            raise OSError("stuck")

    service, _ = ready(
        Recording(succeed("all well")), Stuck(MetricsRegistry(), lambda reactor: pytest.fail("not used"))
    )
    service.startService()
    results: list[Any] = []
    service.stopService().addBoth(results.append)
    assert results == ["all well"]
    assert len(logged.flush(OSError)) == 1


def test_a_site_that_cannot_be_measured_is_served_without_and_logged_once(logged: Logged) -> None:
    """The application's own metric may have taken the name; that is no reason for it not to run."""
    site, fake = Site(Resource()), FakeReactor()
    root, registry = site.resource, MetricsRegistry(fake.clock)
    registry.counter("http.requests")
    service = MeasuredService(Service(), registry, [], reactor=fake)
    fake.addReader(Port(site))
    service.startService()
    fake.run()
    fake.advance(SEARCH)
    assert site.resource is root
    assert len(logged.flush(ValueError)) == 1
    service.stopService()


def test_the_service_is_one_of_twisteds() -> None:
    """It can be put into any tree, and whoever walks the tree finds the user's service in it."""
    inner = Service()
    service, _ = ready(inner)
    assert IService.providedBy(service)
    assert inner in list(service)


def test_the_plugin_names_its_module_without_importing_it() -> None:
    """The drop-in is an IPlugin like any other and leads here."""
    from twisted.plugins import txmetrics_plugin

    assert IPlugin.providedBy(txmetrics_plugin.metrics)
    assert txmetrics_plugin.metrics.options is Options
    assert txmetrics_plugin.metrics.makeService is makeService


@pytest_twisted.ensureDeferred
async def test_an_endpoint_string_finds_the_registry_while_the_service_runs() -> None:
    """A plugin that is told to listen on ``metrics:tcp:0`` needs nothing else; outside, that fails with a sentence."""
    registry, endpoint = MetricsRegistry(), serverFromString(reactor, "metrics:as=echo:tcp:0:interface=127.0.0.1")
    service = MeasuredService(Service(), registry, [], instruments=[])
    service.startService()
    port = await endpoint.listen(Factory.forProtocol(Protocol))
    client = await connectProtocol(clientFromString(reactor, f"tcp:127.0.0.1:{port.getHost().port}"), Protocol())
    await deferLater(reactor, 0.05)
    assert registry.counter("connections.echo.accepted").count == 1
    client.transport.abortConnection()
    await port.stopListening()
    await service.stopService()
    with pytest.raises(RuntimeError, match="use_registry"):
        await endpoint.listen(Factory.forProtocol(Protocol))


def test_every_instrument_measures_and_leaves_nothing_behind() -> None:
    """Each has a metric of its own from the start on, and the reactor is empty when the service has stopped."""
    measures = {
        "web": "http.requests",
        "connections": "connections.unnamed.accepted",
        "reactor": "reactor.lag",
        "process": "process.threads",
        "log": "log.error",
        "blocking": "reactor.thread_calls",
        "threads": "threadpool.queue",
        "deferreds": "deferreds.pending",
    }
    assert set(measures) == set(INSTRUMENTS)
    for name, metric in measures.items():
        fake = FakeReactor()
        registry = MetricsRegistry(fake.clock)
        service = MeasuredService(Service(), registry, [], instruments=[name], reactor=fake)
        fake.addReader(Port(Site(Resource())))
        service.startService()
        fake.run()
        assert metric in {reading.name for reading in registry.snapshot()}, name
        service.stopService()
        assert fake.getDelayedCalls() == [], name


def test_a_name_that_is_taken_costs_the_process_its_numbers_only(logged: Logged) -> None:
    """The service runs, and the log says why."""
    fake, inner = FakeReactor(), Service()
    registry = MetricsRegistry(fake.clock)
    registry.counter("process.threads")
    service = MeasuredService(inner, registry, [], reactor=fake)
    service.startService()
    assert inner.running
    (failure,) = logged.flush(ValueError)
    assert "process.threads" in failure.getErrorMessage()
    service.stopService()
    assert not inner.running
