"""What arrives where, with the options of the command and of the mix-in."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Service
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.strict import Logged
from tests.tap.harness import GRAPHITE, KEY, arrived, graphite, parsed, reactor
from txmetrics import MetricsRegistry
from txmetrics.tap import KEY_VARIABLE, MetricsOptionMixin, makeService, measured


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


@pytest.mark.parametrize(
    ("arguments", "process", "web"),
    [([], True, True), (["--metrics-instrument=process"], True, False), (["--metrics-instrument=web"], False, True)],
)
@pytest_twisted.ensureDeferred
async def test_what_is_to_be_measured_is(arguments: list[str], process: bool, web: bool) -> None:
    """The usual if nothing is said, otherwise what is named; the process's numbers are in the last report, too."""
    async with graphite() as (receiver, endpoint):
        options = MixinLast()
        options.parseOptions(["--metrics-graphite", endpoint, "--metrics-interval=60", *arguments])
        site = Site(Resource())
        service = measured(
            StreamServerEndpointService(serverFromString(reactor, "tcp:0:interface=127.0.0.1"), site), options
        )
        service.startService()
        gc.collect()
        await service.stopService()
        await arrived(receiver, "txmetrics.reports.count")
    assert ("process.cpu_seconds" in receiver.names()) == process
    assert ("process.gc.pause.count" in receiver.names()) == process
    assert ("http.requests.count" in receiver.names()) == web
    if process:
        assert receiver.latest("process.gc.pause.count") >= 1
        assert receiver.latest("process.resident_memory_bytes") > 10_000_000


def test_what_cannot_be_measured_is_refused() -> None:
    """The sentence names it, and what there is."""
    with pytest.raises(UsageError, match=r"^--metrics-instrument knows no 'procces'; choose of web, con.*, or all$"):
        parsed(GRAPHITE, "--metrics-instrument=web,procces")
