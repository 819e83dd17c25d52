"""The twistd plugin ``metrics``, and the same options as a mix-in for plugins of your own.

    twistd -n metrics --metrics-graphite=tcp:127.0.0.1:2003 web --listen=tcp:8080 --path=.

Under twistd the options and ``makeService`` run in the parent, before the fork and as root: nothing is opened, no pid
is taken and no clock is read until the services start.
"""

from __future__ import annotations

# Python resolves names with it, and would import it at the first name: after a chroot, or as a user who may not read
# root's Python, that fails, and Twisted waits for the name for ever.
import encodings.idna  # noqa: F401
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IProcess, IService, IServiceMaker, MultiService, Service, loadApplication
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from twisted.web.server import Site

from txmetrics import backends
from txmetrics.delivery import REPLAY_WINDOW, Secret
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

    Without any of the options (and the variable TXMETRICS_HOSTED_GRAPHITE_KEY) nothing is measured and nothing is
    sent. A wrong one is a UsageError of one line.
    """

    def opt_metrics_graphite(self, endpoint: str) -> None:
        """Report to the Graphite at this endpoint, such as tcp:127.0.0.1:2003 or udp:...; can be repeated."""
        self._metrics().endpoints.append(_usage(backends.check_endpoint, endpoint))

    def opt_metrics_prefix(self, prefix: str) -> None:
        """Put this before every name; {host} and {pid} are filled in when the service starts."""
        self._metrics().prefix = _usage(backends.check_prefix, prefix)

    def opt_metrics_interval(self, seconds: str) -> None:
        """Report every so many seconds (10)."""
        self._metrics().interval = _usage(check_interval, _seconds("--metrics-interval", seconds))

    def opt_metrics_protocol(self, protocol: str) -> None:
        """Speak to Graphite in plaintext, pickle or udp (plaintext, over what the endpoint says)."""
        self._metrics().protocol = protocol

    def opt_metrics_replay_window(self, seconds: str) -> None:
        """Write the last so many seconds again after a lost connection (60); 0 for backends that would add them."""
        window = _usage(backends.check_window, _seconds("--metrics-replay-window", seconds))
        self._metrics().replay_window = window

    def opt_metrics_spool(self, directory: str) -> None:
        """Keep in this directory what could not be delivered, for the next start."""
        self._metrics().spool = Path(directory).absolute()

    def opt_metrics_hosted_graphite_key_file(self, path: str) -> None:
        """Report to HostedGraphite with the API key in this file (or in TXMETRICS_HOSTED_GRAPHITE_KEY)."""
        self._metrics().key = _key(Path(path).read_text)

    def opt_metrics_hosted_graphite_endpoint(self, endpoint: str) -> None:
        """Report to HostedGraphite at this client endpoint (tls:carbon.hostedgraphite.com:20030) or https: URL."""
        self._metrics().hosted_endpoint = _usage(backends.check_endpoint, endpoint)

    def opt_metrics_hosted_graphite_transport(self, transport: str) -> None:
        """Report to HostedGraphite over tls, https, or cleartext, in which everybody on the way can read the key."""
        self._metrics().hosted_transport = transport

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
        self.protocol: str | None = None
        self.replay_window = REPLAY_WINDOW
        self.spool: Path | None = None
        self.key: Secret | None = None
        self.hosted_endpoint: str | None = None
        self.hosted_transport = "tls"

    def reporters(self, registry: MetricsRegistry) -> list[Reporter]:
        common: dict[str, Any] = {"interval": self.interval, "prefix": self.prefix, "spool": self.spool}
        graphite = {"protocol": self.protocol, "replay_window": self.replay_window, **common}
        reporters = [_usage(backends.graphite, registry, each, **graphite) for each in self.endpoints]
        key = self.key
        if key is None and os.environ.get(KEY_VARIABLE, "").strip():
            key = _key(lambda: os.environ[KEY_VARIABLE])
        if key is not None:
            hosted = {"endpoint": self.hosted_endpoint, "transport": self.hosted_transport, **common}
            reporters.append(_usage(backends.hosted_graphite, registry, key, **hosted))
        elif self.hosted_endpoint is not None or self.hosted_transport != "tls":
            raise UsageError(
                "HostedGraphite's endpoint and transport report nothing without an API key; "
                f"give --metrics-hosted-graphite-key-file=FILE or set {KEY_VARIABLE}"
            )
        return reporters


def _usage(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call ``function``; its ValueError is the user's, in one line."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _seconds(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{option} takes a number of seconds, not {text!r}") from None


def _check_readable(path: str) -> None:
    try:
        open(path, "rb").close()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _key(read: Callable[[], str]) -> Secret:
    try:
        return Secret(read().strip())
    except OSError as error:
        reason = f"the API key file cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        reason = "the API key file cannot be read: it is no text"
    except ValueError as error:
        reason = str(error)
    # Not from within: what led here holds the key, and a verbose traceback would show it.
    raise UsageError(reason)


class MeasuredService(MultiService):
    """Runs ``service`` with every Site in it instrumented, and ``reporters`` for as long and a little longer.

    Sites that show in the tree of services are instrumented before they listen, those that the service listens
    with by itself as soon as it has started, or SEARCH seconds later. ``stopService`` stops ``service`` first and
    reports its last numbers then; its result is that of ``service``. What goes wrong with the metrics is logged, and
    ``service`` runs without.
    """

    log = Logger()

    def __init__(
        self, service: Any, registry: MetricsRegistry, reporters: Iterable[Reporter], *, reactor: Any = None
    ) -> None:
        """``reactor`` is the one that ``service`` listens with; None: the global one."""
        super().__init__()
        self._service = service
        self._registry = registry
        self._reporters = list(reporters)
        self._reactor = reactor
        self._search: LoopingCall | None = None
        self._troubled = False
        for each in (*self._reporters, service):
            each.setServiceParent(self)

    def privilegedStartService(self) -> None:
        self._instrument(sites_of, self._service)
        self._reporters = [each for each in self._reporters if self._begins(each.privilegedStartService)]
        self._service.privilegedStartService()

    def startService(self) -> None:
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = reactor
        self._instrument(sites_of, self._service)
        Service.startService(self)
        self._reporters = [each for each in self._reporters if self._begins(each.startService)]
        self._service.startService()
        self._reactor.callWhenRunning(self._begin_search)

    def stopService(self) -> Deferred[Any]:
        Service.stopService(self)
        if self._search is not None:
            self._search.stop()
            self._search = None
        return ensureDeferred(self._stop())

    async def _stop(self) -> Any:
        try:
            return await maybeDeferred(self._service.stopService)
        finally:
            await gatherResults([self._stopped(each) for each in self._reporters])

    def _begins(self, reporter_starts: Callable[[], None]) -> bool:
        try:
            reporter_starts()
        except Exception:
            self.log.failure("a reporter cannot be started; the service runs without it")
            return False
        return True

    def _stopped(self, reporter: Reporter) -> Deferred[None]:
        stopped = maybeDeferred(reporter.stopService)
        return stopped.addErrback(lambda failure: self.log.failure("a reporter cannot be stopped", failure))

    def _begin_search(self) -> None:
        if self.running and self._search is None:
            self._search = LoopingCall(self._instrument, listening_sites, self._reactor)
            self._search.clock = self._reactor
            self._search.start(SEARCH)

    def _instrument(self, find: Callable[[Any], Iterable[Site]], where: Any) -> None:
        try:
            instrument_sites(find(where), self._registry)
        except Exception:
            if not self._troubled:  # the search would say it again and again
                self._troubled = True
                self.log.failure("some Sites cannot be instrumented; the service runs without that")


def measured(service: Any, options: MetricsOptionMixin, registry: MetricsRegistry | None = None) -> Any:
    """``service``, measured as ``options`` say: in a MeasuredService, or as it is where they name no backend.

    ``registry`` is the application's own, whose metrics are reported as well. What is wrong with the options only as a
    whole, or with the environment, ends the program with one line: twistd has done its parsing by now.
    """
    registry = MetricsRegistry() if registry is None else registry
    try:
        reporters = options.reporters(registry)
    except UsageError as error:
        raise SystemExit(str(error)) from None
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

    # What a plugin asks of its parent's options, or tells them, is meant for twistd's: carbon's sets the pidfile.

    def __missing__(self, key: str) -> Any:
        if self.parent is None:
            raise KeyError(key)
        return self.parent[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (self.parent is not None and key in self.parent)

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: str, value: Any) -> None:
        if self.parent is None or super().__contains__(key):
            super().__setitem__(key, value)
        else:
            self.parent[key] = value

    def postOptions(self) -> None:
        if (self.subCommand is None) == (self["python"] is None):
            raise UsageError("name one plugin to run, such as web, or --python=app.tac (twistd --help lists plugins)")
        if self["python"] is not None:
            _check_readable(self["python"])
        if not self.reporters(MetricsRegistry()):
            raise UsageError(
                "nowhere to report to: give --metrics-graphite=tcp:HOST:2003 or --metrics-hosted-graphite-key-file=FILE"
            )


def makeService(options: Options) -> Any:
    """The service of the plugin or .tac file that ``options`` name, measured."""
    if options.subCommand is None:
        service = _service_in(options)
    else:
        service = options.plugins[options.subCommand].makeService(options.subOptions)
    return measured(service, options)


def _service_in(options: Options) -> Any:
    """The service of the .tac file; the user and group that it wants to run as become twistd's options."""
    try:
        application = loadApplication(options["python"], "python")
    except KeyError as error:
        if error.args != ("application",):
            raise
        raise SystemExit(f"{options['python']} sets no variable named application") from None
    process = IProcess(application)
    for name, number in (("uid", process.uid), ("gid", process.gid)):
        if number is not None and options.get(name) is None:
            options[name] = number
    return IService(application)
