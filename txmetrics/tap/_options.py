"""The ``--metrics-...`` options, and what they come to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError

from txmetrics import backends
from txmetrics.delivery import REPLAY_WINDOW, Secret, check_remote_write_url, log_target
from txmetrics.registry import MetricsRegistry
from txmetrics.reporter import Reporter, check_interval
from txmetrics.tap._service import DEFAULT, INSTRUMENTS

__all__ = ["KEY_VARIABLE", "MetricsOptionMixin"]

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
        """Report to the Graphite at this endpoint, or the first of tcp:A:2003,tcp:B:2003; can be repeated."""
        self._metrics().endpoints.append(_usage(backends.check_destination, endpoint))

    def opt_metrics_prefix(self, prefix: str) -> None:
        """Put this before every name; {host}, {pid}, {worker} and {generation} are filled in at the start."""
        self._metrics().prefix = _usage(backends.check_prefix, prefix)

    def opt_metrics_graphite_tags(self, tags: str) -> None:
        """Put these tags on every line to Graphite, such as host={host},worker={worker}; filled in as the prefix is."""
        pairs = [pair.partition("=")[::2] for pair in tags.split(",")]
        self._metrics().tags = _usage(backends.check_tags, dict(pairs))

    def opt_metrics_temporality(self, temporality: str) -> None:
        """Tell Graphite counts as cumulative, or as delta, which many processes' can be added up (cumulative)."""
        self._metrics().temporality = temporality

    def opt_metrics_buckets(self, names: str) -> None:
        """Tell Graphite the buckets of these timers, such as http.requests,http.routes.*; with delta only."""
        self._metrics().buckets = names.split(",")

    def opt_metrics_slo(self, slo: str) -> None:
        """Tell Graphite how many took at most so long: http.requests:0.1,0.25,1; can be repeated; with delta only."""
        name, _, bounds = slo.rpartition(":")
        if not name or not bounds:
            raise UsageError(f"--metrics-slo takes a name and bounds, such as http.requests:0.1,0.25,1, not {slo!r}")
        self._metrics().slo[name] = [_seconds("--metrics-slo", bound) for bound in bounds.split(",")]

    def opt_metrics_interval(self, seconds: str) -> None:
        """Report every so many seconds (10)."""
        self._metrics().interval = _usage(check_interval, _seconds("--metrics-interval", seconds))

    def opt_metrics_instrument(self, instruments: str) -> None:
        """Measure these, with commas between: web,reactor,process,log (if not given), or others, or all."""
        self._metrics().instruments = _instruments(instruments)

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

    def opt_metrics_remote_write(self, url: str) -> None:
        """Post to the Prometheus remote-write receiver at this URL, such as http://127.0.0.1:9090/api/v1/write."""
        self._metrics().remote_write.append(_usage(check_remote_write_url, url))

    def opt_metrics_remote_write_histograms(self, histograms: str) -> None:
        """Post timers and histograms there as classic, native, or vmrange, which is for VictoriaMetrics (classic)."""
        self._metrics().histograms = histograms

    def opt_metrics_log(self, to: str) -> None:
        """Write a line of JSON a metric to this file, to the standard output (-), or to Twisted's log (log)."""
        _usage(log_target, to)
        self._metrics().log = to

    def opt_metrics_dashboard(self, endpoint: str) -> None:
        """Show it all on a page at this endpoint, such as tcp:8002; for browsers on this machine only."""
        self._metrics().dashboard = _usage(_for_this_machine, endpoint, "a dashboard, such as tcp:8002")

    def opt_metrics_prometheus(self, endpoint: str) -> None:
        """Let Prometheus scrape /metrics at this endpoint, such as tcp:9100; on loopback if it names no interface."""
        self._metrics().prometheus = _usage(_for_this_machine, endpoint, "Prometheus, such as tcp:9100")

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

    @property
    def dashboard(self) -> str | None:
        """The server endpoint of the page that shows it all, None for none."""
        return self._metrics().dashboard

    @property
    def prometheus(self) -> str | None:
        """The server endpoint at which Prometheus can scrape, None for none."""
        return self._metrics().prometheus

    @property
    def instruments(self) -> Sequence[str]:
        """What is to be measured, as MeasuredService knows it."""
        return self._metrics().instruments

    def _metrics(self) -> _MetricsOptions:
        # Not in __init__: a mix-in's is not called, whichever base comes first.
        options: _MetricsOptions = self.__dict__.setdefault("_metrics_options", _MetricsOptions())
        return options


class _MetricsOptions:
    """What the options said."""

    def __init__(self) -> None:
        self.endpoints: list[str] = []
        self.prefix = ""
        self.tags: dict[str, str] = {}
        self.temporality = "cumulative"
        self.buckets: list[str] = []
        self.slo: dict[str, list[float]] = {}
        self.interval = 10.0
        self.instruments: Sequence[str] = DEFAULT
        self.protocol: str | None = None
        self.replay_window = REPLAY_WINDOW
        self.spool: Path | None = None
        self.remote_write: list[str] = []
        self.histograms = "classic"
        self.log: str | None = None
        self.dashboard: str | None = None
        self.prometheus: str | None = None
        self.key: Secret | None = None
        self.hosted_endpoint: str | None = None
        self.hosted_transport = "tls"

    def reporters(self, registry: MetricsRegistry) -> list[Reporter]:
        common: dict[str, Any] = {"interval": self.interval, "prefix": self.prefix, "spool": self.spool}
        graphite = {
            **common,
            "protocol": self.protocol,
            "replay_window": self.replay_window,
            "tags": self.tags,
            "temporality": self.temporality,
            "buckets": self.buckets,
            "slo": self.slo,
        }
        if not self.endpoints and (self.tags or self.buckets or self.slo or self.temporality != "cumulative"):
            raise UsageError(
                "tags on every line, temporality, buckets and slo are told to Graphite only; give --metrics-graphite"
            )
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
        series = {"interval": self.interval, "histograms": self.histograms, "spool": self.spool}
        reporters += [_usage(backends.remote_write, registry, each, **series) for each in self.remote_write]
        if self.log is not None:
            reporters.append(_usage(backends.log, registry, self.log, self.interval, self.prefix))
        return reporters

    def identities(self) -> list[str]:
        """By backend, for those that go by names, what tells this process's from another's before it is filled in."""
        graphite = [self.prefix + "".join(self.tags.values())] * bool(self.endpoints)
        by_prefix = (self.key is not None, os.environ.get(KEY_VARIABLE, "").strip(), self.log is not None)
        return graphite + [self.prefix] * any(by_prefix)


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


def _for_this_machine(endpoint: str, what: str) -> str:
    """The server endpoint for ``what``; a port without an interface is loopback's. ValueError for what is none."""
    if endpoint.isdecimal():
        endpoint = f"tcp:{endpoint}"
    if endpoint.startswith("tcp:") and "interface=" not in endpoint:
        endpoint += ":interface=127.0.0.1"
    try:
        serverFromString(MemoryReactorClock(), endpoint)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{endpoint!r} is no endpoint for {what} ({reason})") from None
    return endpoint


def _instruments(text: str) -> list[str]:
    named = [each.strip() for each in text.split(",")]
    for each in named:
        if each not in (*INSTRUMENTS, "all"):
            raise UsageError(f"--metrics-instrument knows no {each!r}; choose of {', '.join(INSTRUMENTS)}, or all")
    return list(INSTRUMENTS) if "all" in named else named


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
