"""The twistd plugin ``metrics``, and the same options as a mix-in for plugins of your own.

    twistd -n metrics --metrics-graphite=tcp:127.0.0.1:2003 web --listen=tcp:8080 --path=.

Under twistd everything here but ``startService`` runs in the parent, before the fork and as root: nothing is opened,
no pid is taken and no clock is read until then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService, IServiceMaker, MultiService, Service, loadApplication
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from txmetrics import backends
from txmetrics.delivery import Secret
from txmetrics.instrument import instrument_sites, listening_sites, sites_of
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Reporter, check_interval

__all__ = ["MeasuredService", "MetricsOptionMixin", "Options", "makeService", "measured"]

SEARCH = 5.0
"""Seconds between two looks for Sites that began to listen meanwhile."""

KEY_VARIABLE = "TXMETRICS_HOSTED_GRAPHITE_KEY"


class MetricsOptionMixin:
    """The ``--metrics-...`` options for a ``usage.Options`` of your own.

        class Options(usage.Options, MetricsOptionMixin):
            ...

        def makeService(options):
            return measured(MyService(), options)

    Without any of the options nothing is measured and nothing is sent. A wrong one is a UsageError of one line.
    """

    def opt_metrics_graphite(self, endpoint: str) -> None:
        """Report to the Graphite at this client endpoint, such as tcp:127.0.0.1:2003; can be repeated."""
        self._metrics().endpoints.append(_usage(backends.check_endpoint, endpoint))

    def opt_metrics_prefix(self, prefix: str) -> None:
        """Put this before every name; {host} and {pid} are filled in when the service starts."""
        self._metrics().prefix = _usage(backends.check_prefix, prefix)

    def opt_metrics_interval(self, seconds: str) -> None:
        """Report every so many seconds (10)."""
        try:
            number = float(seconds)
        except ValueError:
            raise UsageError(f"--metrics-interval takes a number of seconds, not {seconds!r}") from None
        self._metrics().interval = _usage(check_interval, number)

    def opt_metrics_hosted_graphite_key_file(self, path: str) -> None:
        """Report to HostedGraphite with the API key in this file (or in TXMETRICS_HOSTED_GRAPHITE_KEY)."""
        self._metrics().key = _key_in(path)

    def opt_metrics_hosted_graphite_endpoint(self, endpoint: str) -> None:
        """Report to HostedGraphite at this client endpoint (tls:carbon.hostedgraphite.com:20030)."""
        self._metrics().hosted_endpoint = _usage(backends.check_endpoint, endpoint)

    def opt_metrics_hosted_graphite_key(self, key: str) -> None:
        """Refused: everyone on the machine can read a command line. Use --metrics-hosted-graphite-key-file."""
        raise UsageError(
            "an API key does not belong on a command line, where every user of the machine can read it; "
            f"give --metrics-hosted-graphite-key-file=FILE or set {KEY_VARIABLE}"
        )

    def reporters(self, registry: MetricsRegistry) -> list[Reporter]:
        """A reporter on ``registry`` for each backend that the options name."""
        return self._metrics().reporters(registry)

    def _metrics(self) -> _MetricsOptions:
        # Not in __init__: a mix-in's is not called, whichever base comes first.
        options: _MetricsOptions = self.__dict__.setdefault("_metrics_options", _MetricsOptions())
        return options


class _MetricsOptions:
    """What the options said."""

    def __init__(self) -> None:
        self.endpoints: list[str] = []
        self.prefix = ""
        self.interval = 10.0
        self.key: Secret | None = None
        self.hosted_endpoint = backends.HOSTED_GRAPHITE

    def reporters(self, registry: MetricsRegistry) -> list[Reporter]:
        reporters = [backends.graphite(registry, each, self.interval, self.prefix) for each in self.endpoints]
        key = self.key or _key_in_environment()
        if key is not None:
            reporters.append(
                _usage(
                    backends.hosted_graphite, registry, key, self.interval, self.prefix, endpoint=self.hosted_endpoint
                )
            )
        return reporters


def _usage(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call ``function``; its ValueError is the user's, in one line."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _key_in(path: str) -> Secret:
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"the API key file cannot be read: {reason}") from None
    return _usage(Secret, text.strip())  # type: ignore[no-any-return]


def _key_in_environment() -> Secret | None:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    return _usage(Secret, key) if key else None


class MeasuredService(MultiService):
    """Runs ``service`` with every Site in it instrumented, and ``reporters`` for as long and a little longer.

    Sites that show in the tree of services are instrumented before they listen, those that the service listens
    with by itself as soon as they do, or SEARCH seconds later. ``stopService`` stops ``service`` first and
    reports its last numbers then; its result is that of ``service``.
    """

    log = Logger()

    def __init__(self, service: Any, registry: MetricsRegistry, reporters: list[Reporter]) -> None:
        super().__init__()
        self._service = service
        self._registry = registry
        self._reporters = reporters
        for each in (*reporters, service):
            each.setServiceParent(self)

    def startService(self) -> None:
        from twisted.internet import reactor

        instrument_sites(sites_of(self._service), self._registry)
        super().startService()
        self._search = LoopingCall(self._instrument_listening, reactor)
        self._search.clock = reactor
        reactor.callWhenRunning(self._search.start, SEARCH)

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        if self._search.running:
            self._search.stop()
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        try:
            await maybeDeferred(self._service.stopService)
        finally:
            await gatherResults([reporter.stopService() for reporter in self._reporters])

    def _instrument_listening(self, reactor: Any) -> None:
        try:
            instrument_sites(listening_sites(reactor), self._registry)
        except Exception:
            self.log.failure("looking for Sites among the listening ports failed; it is tried again")


def measured(service: Any, options: MetricsOptionMixin, registry: MetricsRegistry | None = None) -> Any:
    """``service``, measured as ``options`` say: in a MeasuredService, or as it is where they name no backend.

    ``registry`` is the application's own, whose metrics are reported as well.
    """
    registry = MetricsRegistry() if registry is None else registry
    reporters = options.reporters(registry)
    return MeasuredService(service, registry, reporters) if reporters else service


class Options(UsageOptions, MetricsOptionMixin):
    """``metrics [options] PLUGIN [the plugin's options]``"""

    synopsis = "[metrics options] PLUGIN [the plugin's options]"
    longdesc = (
        "Runs another twistd plugin unmodified, times every request of every web server in it, and reports to "
        "Graphite or HostedGraphite."
    )
    optParameters: ClassVar = [["python", "y", None, "Run the application in this .tac file instead of a plugin."]]

    @property
    def subCommands(self) -> Iterator[tuple[str, None, Any, str]]:
        self.plugins = {plugin.tapname: plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname != "metrics"}
        for name, plugin in sorted(self.plugins.items()):
            yield name, None, lambda plugin=plugin: plugin.options(), plugin.description

    def postOptions(self) -> None:
        if (self.subCommand is None) == (self["python"] is None):
            raise UsageError("name one plugin to run, such as web, or --python=app.tac (twistd --help lists plugins)")
        if not self.reporters(MetricsRegistry()):
            raise UsageError("nowhere to report to: give --metrics-graphite=tcp:HOST:2003")


def makeService(options: Options) -> Any:
    """The service of the plugin or .tac file that ``options`` name, measured."""
    if options.subCommand is None:
        service = IService(loadApplication(options["python"], "python"))
    else:
        service = options.plugins[options.subCommand].makeService(options.subOptions)
    return measured(service, options)
