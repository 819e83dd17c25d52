"""The options of twistd's ``metrics`` and of the mix-in, and the service that they make."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from traceback import TracebackException
from typing import Any

import pytest
import pytest_twisted
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService, MultiService, Service
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.plugin import IPlugin
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from twisted.scripts.twistd import ServerOptions
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from tests.strict import Logged
from txmetrics import MetricsRegistry, TimedResource, backends
from txmetrics.reporter import Backend, Reporter
from txmetrics.tap import KEY_VARIABLE, SEARCH, MeasuredService, MetricsOptionMixin, Options, makeService, measured
from txmetrics.testing import FakeReactor, GraphiteReceiver

reactor: Any = _reactor

GRAPHITE = "--metrics-graphite=tcp:127.0.0.1:2003"
KEY = "0a1b2c3d-key"


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def refusal(*arguments: str) -> UsageError:
    """The usage error for these arguments, which is one line."""
    with pytest.raises(UsageError) as raised:
        parsed(*arguments)
    assert len(str(raised.value).splitlines()) == 1
    return raised.value


# What is wrong with the options


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name one plugin"),
        ([GRAPHITE], "name one plugin"),
        ([GRAPHITE, "nosuch"], "Unknown command: nosuch"),
        ([GRAPHITE, "metrics"], "Unknown command: metrics"),
        ([GRAPHITE, "web", "--nosuch"], "option --nosuch not recognized"),
        ([GRAPHITE, "web", "superfluous"], "Wrong number of arguments"),
        ([GRAPHITE, "--metrics-nosuch=1", "web"], "option --metrics-nosuch not recognized"),
        ([GRAPHITE, "--python=app.tac", "web"], "name one plugin"),
        ([GRAPHITE, "--python=/no/such/app.tac"], "/no/such/app.tac cannot be read: No such file"),
        ([GRAPHITE, "-y", "/"], "/ cannot be read: Is a directory"),
        (["web"], "nowhere to report to"),
        (["--metrics-prefix=web1", "--metrics-interval=1", "web"], "nowhere to report to"),
        (["--metrics-graphite"], "--metrics-graphite requires argument"),
        (["--metrics-graphite=", "web"], "'' is no endpoint such as tcp:127.0.0.1:2003"),
        (["--metrics-graphite=localhost:2003", "web"], "'localhost:2003' is no endpoint"),
        (["--metrics-graphite=tcp:localhost", "web"], "'tcp:localhost' is no endpoint"),
        (["--metrics-graphite=tcp:localhost:http", "web"], "'tcp:localhost:http' is no endpoint"),
        (["--metrics-graphite=tcp:a\nb", "web"], r"'tcp:a\nb' is no endpoint"),
        (["--metrics-graphite=tls:a:1:certificate=/no/such/file", "web"], "No such file"),
        (["--metrics-prefix=a..b", "web"], "'a..b' has an empty part"),
        (["--metrics-prefix=web1.", "web"], "'web1.' has an empty part"),
        (["--metrics-prefix=my web", "web"], "contains ' '"),
        (["--metrics-prefix=a\nb", "web"], r"contains '\n'"),
        (["--metrics-prefix={port}", "web"], "only {host} and {pid} are filled in"),
        (["--metrics-prefix={", "web"], "contains '{'"),
        (["--metrics-interval=0", "web"], "an interval of 0.0 seconds"),
        (["--metrics-interval=-1", "web"], "an interval of -1.0 seconds"),
        (["--metrics-interval=0.5", "web"], "an interval of 0.5 seconds"),
        (["--metrics-interval=nan", "web"], "nan seconds"),
        (["--metrics-interval=inf", "web"], "inf seconds"),
        (["--metrics-interval=ten", "web"], "--metrics-interval takes a number of seconds, not 'ten'"),
        (["--metrics-interval=", "web"], "--metrics-interval takes a number of seconds, not ''"),
        (["--metrics-hosted-graphite-endpoint=nosuch:1", "web"], "'nosuch:1' is no endpoint"),
        (["--metrics-graphite=udp:h:0", "web"], "'udp:h:0' is no endpoint"),
        ([GRAPHITE, "--metrics-protocol=protobuf", "web"], "choose one of plaintext, pickle, udp"),
        ([GRAPHITE, "--metrics-protocol=udp", "web"], "UDP's is such as udp:"),
        ([GRAPHITE, "--metrics-replay-window=-1", "web"], "a replay window of -1.0 seconds"),
        ([GRAPHITE, "--metrics-replay-window=x", "web"], "--metrics-replay-window takes a number of seconds, not 'x'"),
        ([GRAPHITE, "--metrics-hosted-graphite-transport=https", "web"], "report nothing without an API key"),
        ([GRAPHITE, "--metrics-hosted-graphite-endpoint=tcp:a:1", "web"], "report nothing without an API key"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(arguments: list[str], told: str) -> None:
    """Whatever is wrong on the command line, the user reads one sentence about it."""
    assert told in str(refusal(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--metrics-hosted-graphite-key=s3cret"],
        ["--metrics-hosted-graphite-key", "s3cret"],
        ["--metrics-hosted-graphite-k=s3cret"],
        ["--metrics-hosted-graphite-key-file=s3cret"],
        ["--metrics-hosted-graphite-key-file", "/s3cret"],
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(arguments: list[str]) -> None:
    """What was typed in place of a file's name may be the key, and ends in no message."""
    error = refusal(*arguments, "web")
    assert "s3cret" not in str(error) + repr(error)


def test_the_refusal_of_a_key_says_what_to_do_instead() -> None:
    """Both ways to give a key are in the message."""
    told = str(refusal("--metrics-hosted-graphite-key=s3cret", "web"))
    assert "--metrics-hosted-graphite-key-file=FILE" in told
    assert KEY_VARIABLE in told


@pytest.mark.parametrize("content", [b"", b" \n", b"s3cret s3cret", b"s3cret!", b"s3cret\ns3cret", b"s3cr\xc3\xa9t"])
def test_a_key_file_without_one_key_is_refused_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    """Of an empty file, or of a key with strange characters, the message repeats nothing."""
    (tmp_path / "key").write_bytes(content)
    error = refusal(f"--metrics-hosted-graphite-key-file={tmp_path / 'key'}", "web")
    assert "no key" in str(error)
    assert "s3cr" not in str(error) + repr(error)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("missing", None, "No such file"), (".", None, "Is a directory"), ("binary", b"s3cret\xff", "it is no text")],
)
def test_a_key_file_that_cannot_be_read_is_a_usage_error(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    """The reason is told, what is in the file is not."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    error = refusal(f"--metrics-hosted-graphite-key-file={tmp_path / name}", "web")
    assert reason in str(error)
    assert "s3cret" not in str(error) + repr(error)


def test_a_strange_key_in_the_environment_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is checked as the file is."""
    monkeypatch.setenv(KEY_VARIABLE, "s3cret!")
    error = refusal("web")
    assert "no key" in str(error)
    assert "s3cret" not in str(error) + repr(error)


def test_not_even_a_verbose_traceback_shows_a_refused_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame and no earlier error that the usage error carries holds what was in the file or the variable."""
    (tmp_path / "strange").write_text("s3cret!")
    (tmp_path / "binary").write_bytes(b"s3cret\xff")
    errors = [refusal(f"--metrics-hosted-graphite-key-file={tmp_path / name}", "web") for name in ("strange", "binary")]
    with monkeypatch.context() as environment:
        environment.setenv(KEY_VARIABLE, "s3cret!")
        errors.append(refusal("web"))
    for error in errors:
        shown = "".join(TracebackException.from_exception(error, capture_locals=True).format())
        assert "UsageError" in shown
        assert "s3cret" not in shown


def test_every_option_is_explained_in_one_line() -> None:
    """The help has a sentence for each option, without the line breaks that usage would keep."""
    options = Options()
    explained = {name: text for name, text in options.docs.items() if name.startswith("metrics-")}
    assert len(explained) == 10
    for name, text in explained.items():
        assert re.fullmatch(r"[A-Z][^\n]+\.", text), name
        assert f"--{name}=" in str(options)


# The plugins and files to run


def test_the_inner_plugin_gets_its_own_options() -> None:
    """What stands behind the plugin's name is parsed by that plugin."""
    options = parsed(GRAPHITE, "web", "--listen=tcp:0", "--path=/tmp")
    assert options.subCommand == "web"
    assert options.subOptions["ports"] == ["tcp:0"]


def test_the_inner_plugin_finds_the_options_of_twistd_in_its_parent() -> None:
    """Plugins read and set options of twistd there, as carbon's does with umask, pidfile and syslog."""
    twistd = ServerOptions()
    twistd.parseOptions(["-n", "--pidfile=/tmp/a.pid", "metrics", GRAPHITE, "web"])
    parent = twistd.subOptions.subOptions.parent
    assert parent.subCommand == "web"
    assert parent["nodaemon"]
    assert parent.get("pidfile") == "/tmp/a.pid"
    assert "umask" in parent
    parent["pidfile"] = "/tmp/b.pid"
    assert twistd["pidfile"] == "/tmp/b.pid"


def test_an_option_that_neither_has_is_missing() -> None:
    """The detour over twistd's options ends like any dict."""
    options = parsed(GRAPHITE, "web")
    options["own"] = 1
    assert options["own"] == 1
    assert options.get("nosuch", 3) == 3
    assert "nosuch" not in options
    with pytest.raises(KeyError, match="nosuch"):
        options["nosuch"]


def tac(directory: Path, code: str) -> Path:
    path = directory / "app.tac"
    path.write_text(f"from twisted.application.service import Application\n{code}\n")
    return path


def test_a_tac_file_is_run_and_measured(tmp_path: Path) -> None:
    """Its application's services end up in a MeasuredService."""
    service = makeService(parsed(GRAPHITE, "--python", str(tac(tmp_path, "application = Application('mine')"))))
    assert isinstance(service, MeasuredService)
    assert "mine" in service.namedServices


@pytest.mark.parametrize(("given", "uid", "gid"), [([], 1234, 567), (["--uid=42"], 42, 567)])
def test_a_tac_file_still_says_who_it_runs_as(tmp_path: Path, given: list[str], uid: int, gid: int) -> None:
    """twistd gives up root for the user that an Application names, unless the command line names one."""
    path = tac(tmp_path, "application = Application('mine', uid=1234, gid=567)")
    twistd = ServerOptions()
    twistd.parseOptions([*given, "metrics", GRAPHITE, f"--python={path}"])
    makeService(twistd.subOptions)
    assert (twistd["uid"], twistd["gid"]) == (uid, gid)


def test_a_tac_file_without_an_application_ends_with_one_line(tmp_path: Path) -> None:
    """The common slip is told by name; other errors in the file keep their traceback."""
    options = parsed(GRAPHITE, f"--python={tac(tmp_path, 'app = Application(1)')}")
    with pytest.raises(SystemExit, match=r"app\.tac sets no variable named application$"):
        makeService(options)
    options = parsed(GRAPHITE, f"--python={tac(tmp_path, '{}[5]')}")
    with pytest.raises(KeyError):
        makeService(options)


def test_making_the_service_opens_nothing(tmp_path: Path) -> None:
    """twistd forks and changes the user after makeService, so that waits for startService."""
    (tmp_path / "key").write_text(KEY)
    files, calls, readers = set(os.listdir("/dev/fd")), reactor.getDelayedCalls(), reactor.getReaders()
    makeService(parsed(GRAPHITE, f"--metrics-hosted-graphite-key-file={tmp_path / 'key'}", "web", "--listen=tcp:0"))
    assert set(os.listdir("/dev/fd")) <= files
    assert (reactor.getDelayedCalls(), reactor.getReaders()) == (calls, readers)


# What arrives


@asynccontextmanager
async def graphite() -> AsyncIterator[tuple[GraphiteReceiver, str]]:
    """A Graphite on loopback, and its endpoint."""
    receiver = GraphiteReceiver()
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(receiver)
    try:
        yield receiver, f"tcp:127.0.0.1:{port.getHost().port}"
    finally:
        await port.stopListening()


async def arrived(receiver: GraphiteReceiver, name: str) -> float | None:
    """The latest value of ``name``: what was sent may still be on its way."""
    for _ in range(500):
        if name in receiver.names():
            break
        await deferLater(reactor, 0.01)
    return receiver.latest(name)


class MixinLast(UsageOptions, MetricsOptionMixin):
    """As documented."""


class MixinFirst(MetricsOptionMixin, UsageOptions):
    """The other order of bases."""


both_orders = pytest.mark.parametrize("kind", [MixinLast, MixinFirst])


@both_orders
@pytest_twisted.ensureDeferred
async def test_the_mixin_reports_the_applications_own_registry(kind: type[Any]) -> None:
    """One base class and one call in makeService are all, in whichever order the bases stand."""
    registry = MetricsRegistry()
    registry.counter("own").inc(7)
    async with graphite() as (receiver, endpoint):
        options = kind()
        options.parseOptions(["--metrics-graphite", endpoint, "--metrics-prefix=web1", "--metrics-interval=60"])
        service = measured(Service(), options, registry)
        service.startService()
        await service.stopService()
    assert await arrived(receiver, "web1.own.count") == 7


@both_orders
def test_without_its_options_the_mixin_changes_nothing(kind: type[Any]) -> None:
    """The service comes back as it is, and options that name no backend do not change that."""
    for arguments in ([], ["--metrics-prefix=web1", "--metrics-interval=5"]):
        options = kind()
        options.parseOptions(arguments)
        service = Service()
        assert measured(service, options) is service


@both_orders
def test_the_mixin_refuses_a_wrong_option(kind: type[Any]) -> None:
    """Checked while twistd parses, although nobody calls a mix-in's postOptions."""
    with pytest.raises(UsageError, match="an interval of 0"):
        kind().parseOptions(["--metrics-interval=0"])


def test_two_options_objects_do_not_share_what_they_were_told() -> None:
    """A mix-in has no __init__, and still no state of the class."""
    first, second = MixinLast(), MixinLast()
    first.parseOptions([GRAPHITE])
    second.parseOptions([])
    assert len(first.reporters(MetricsRegistry())) == 1
    assert second.reporters(MetricsRegistry()) == []


@pytest.mark.parametrize(
    ("arguments", "key", "told"),
    [([], "s3cret!", "no key"), (["--metrics-hosted-graphite-endpoint=tcp:a:1"], "", "nothing without an API key")],
)
def test_what_shows_only_after_the_parsing_ends_the_program_with_one_line(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], key: str, told: str
) -> None:
    """From makeService a UsageError would be a traceback, so it is an exit with a message."""
    monkeypatch.setenv(KEY_VARIABLE, key)
    options = MixinLast()
    options.parseOptions(arguments)
    with pytest.raises(SystemExit, match=told) as raised:
        measured(Service(), options)
    assert len(str(raised.value).splitlines()) == 1
    assert "s3cret" not in str(raised.value)


@pytest_twisted.ensureDeferred
async def test_two_graphites_both_get_everything() -> None:
    """--metrics-graphite can be repeated."""
    async with graphite() as (first, endpoint1), graphite() as (second, endpoint2):
        options = parsed(f"--metrics-graphite={endpoint1}", "--metrics-graphite", endpoint2, "web", "--listen=tcp:0")
        service = makeService(options)
        service.startService()
        await service.stopService()
    assert await arrived(first, "http.requests.count") == 0
    assert await arrived(second, "http.requests.count") == 0


@pytest.mark.parametrize("source", ["file", "variable"])
@pytest_twisted.ensureDeferred
async def test_hosted_graphite_gets_the_key_before_each_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged, source: str
) -> None:
    """The key comes from the file or the variable, and the endpoint option says where to."""
    arguments = []
    if source == "file":
        (tmp_path / "key").write_text(f"{KEY}\n")
        arguments = [f"--metrics-hosted-graphite-key-file={tmp_path / 'key'}"]
    else:
        monkeypatch.setenv(KEY_VARIABLE, KEY)
    async with graphite() as (receiver, endpoint):
        arguments += [f"--metrics-hosted-graphite-endpoint={endpoint}", "--metrics-hosted-graphite-transport=cleartext"]
        options = parsed(*arguments, "web", "--listen=tcp:0")
        service = makeService(options)
        service.startService()
        await service.stopService()
    assert await arrived(receiver, f"{KEY}.http.requests.count") == 0
    assert {name.partition(".")[0] for name in receiver.names()} == {KEY}
    assert not [text for text in logged.texts() if KEY in text]


@pytest_twisted.ensureDeferred
async def test_what_could_not_be_delivered_is_in_the_spool_for_the_next_start(tmp_path: Path) -> None:
    """Protocol, replay window and spool reach the backend: a run without Graphite, then one with it."""
    async with graphite() as (receiver, endpoint):
        pass  # nobody listens there now
    settings = [f"--metrics-spool={tmp_path / 'spool'}", "--metrics-protocol=plaintext", "--metrics-replay-window=5"]
    service = makeService(parsed(f"--metrics-graphite={endpoint}", *settings, "web", "--listen=tcp:0"))
    service.startService()
    await service.stopService()
    assert receiver.points == []
    [folder] = (tmp_path / "spool").iterdir()
    assert [file.stat().st_size > 1000 for file in folder.glob("*.spool")] == [True]
    port = endpoint.rpartition(":")[2]
    await deferLater(reactor, 1.0)  # the last report of each run has a second of its own
    listening = await serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1").listen(receiver)
    service = makeService(parsed(f"--metrics-graphite={endpoint}", *settings, "web", "--listen=tcp:0"))
    service.startService()
    await service.stopService()
    await listening.stopListening()
    assert len(receiver.values("http.requests.count")) == 2
    assert list(folder.glob("*.spool")) == []


@pytest_twisted.ensureDeferred
async def test_host_and_pid_are_those_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that starts the service is not the one that made it, whose pid is of no interest."""
    async with graphite() as (receiver, endpoint):
        options = parsed(f"--metrics-graphite={endpoint}", "--metrics-prefix=a.{host}.{pid}", "web", "--listen=tcp:0")
        with monkeypatch.context() as parent:
            parent.setattr(os, "getpid", lambda: 1)
            parent.setattr("socket.gethostname", lambda: "elsewhere")
            service = makeService(options)
        monkeypatch.setattr("socket.gethostname", lambda: "web1.example")
        service.startService()
        await service.stopService()
    assert await arrived(receiver, f"a.web1_example.{os.getpid()}.http.requests.count") == 0


# The service


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

    def getHost(self) -> None: ...


def ready(service: Any, *reporters: Reporter) -> tuple[MeasuredService, FakeReactor]:
    """``service`` measured, and the reactor in which it will run."""
    fake = FakeReactor()
    return MeasuredService(service, MetricsRegistry(fake.clock), reporters, reactor=fake), fake


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
