"""The plugin's own options, and the service that they come to."""

from __future__ import annotations

# Python resolves names with it, and would import it at the first name: after a chroot, or as a user who may not read
# root's Python, that fails, and Twisted waits for the name for ever.
import encodings.idna  # noqa: F401
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from twisted.application.service import IProcess, IService, IServiceMaker, loadApplication
from twisted.plugin import getPlugins
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from txmetrics.identity import WORKER_VARIABLE
from txmetrics.registry import MetricsRegistry
from txmetrics.tap._options import MetricsOptionMixin
from txmetrics.tap._service import MeasuredService
from txmetrics.tap._worker_options import PYTHONPATH_VARIABLE, check_workers, commands, number_of_workers, take_over
from txmetrics.tap._workers import Workers

__all__ = ["Options", "makeService", "measured"]


def measured(service: Any, options: MetricsOptionMixin, registry: MetricsRegistry | None = None) -> Any:
    """``service``, measured as ``options`` say: in a MeasuredService, or as it is where they name no backend,
    no dashboard and no port for Prometheus.

    ``registry`` is the application's own, whose metrics are reported as well. What is wrong with the options only as a
    whole, or with the environment, ends the program with one line: twistd has done its parsing by now.
    """
    registry = MetricsRegistry() if registry is None else registry
    try:
        reporters = options.reporters(registry)
    except UsageError as error:
        raise SystemExit(str(error)) from None
    views = {"dashboard": options.dashboard, "prometheus": options.prometheus}
    if not reporters and not any(views.values()):
        return service
    return MeasuredService(service, registry, reporters, instruments=options.instruments, **views)


class Options(UsageOptions, MetricsOptionMixin):
    """``metrics [options] PLUGIN [the plugin's options]``"""

    synopsis = "[metrics options] PLUGIN [the plugin's options]"
    longdesc = (
        "Runs another twistd plugin unmodified, times every request of every web server in it, measures the process, "
        "and reports to Graphite, HostedGraphite, Prometheus or a log, or shows it on a page."
    )
    optParameters: ClassVar = [["python", "y", None, "Run the application in this .tac file instead of a plugin."]]
    workers: int | None = None
    """So many processes, each of which serves; None: this one."""
    arguments: Sequence[str] = ()
    """As they were given."""

    def opt_workers(self, number: str) -> None:
        """Serve in so many processes that share their ports, and start each again if it ends."""
        self.workers = number_of_workers(number)

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

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        self.arguments = sys.argv[1:] if options is None else list(options)
        super().parseOptions(self.arguments)

    def postOptions(self) -> None:
        if (self.subCommand is None) == (self["python"] is None):
            raise UsageError("name one plugin to run, such as web, or --python=app.tac (twistd --help lists plugins)")
        if self["python"] is not None:
            _check_readable(self["python"])
        if not self.reporters(MetricsRegistry()) and self.dashboard is None and self.prometheus is None:
            raise UsageError(
                "nowhere to report to: give --metrics-graphite=tcp:HOST:2003, "
                "--metrics-hosted-graphite-key-file=FILE, --metrics-remote-write=URL, --metrics-log=FILE, "
                "--metrics-prometheus=tcp:9100, or --metrics-dashboard=tcp:8002"
            )
        if self.workers is not None:
            check_workers(self)


def makeService(options: Options) -> Any:
    """The service of the plugin or .tac file that ``options`` name, measured; or one that runs workers with it."""
    if options.workers is not None:
        return _workers(options)
    if options.subCommand is None:
        service = _service_in(options)
    else:
        service = options.plugins[options.subCommand].makeService(options.subOptions)
    return measured(service, options)


def _workers(options: Options) -> Workers:
    given = commands(options)
    directory = take_over(options.parent)
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), PYTHONPATH_VARIABLE: os.environ.get("PYTHONPATH", "")}
    return Workers(given, lambda name: {**os.environ, **paths, WORKER_VARIABLE: name}, directory)


def _check_readable(path: str) -> None:
    try:
        open(path, "rb").close()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


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
