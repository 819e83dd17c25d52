"""``metrics:tcp:8080``: the endpoint ``tcp:8080``, and the factory that listens on it is measured.

The string comes from whoever runs a server, and has no room for a registry. So there is one for all such endpoints of
the process, and this module is the only place where txmetrics keeps one.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from zope.interface import implementer

from txmetrics import names
from txmetrics.instrument._care import Care
from txmetrics.instrument.connections._factory import measure_connections
from txmetrics.instrument.connections._search import port_name
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["MeasuredEndpoint", "parse_server", "use_registry"]

_care = Care("the factories of metrics: endpoints")
_registry: MetricsRegistry | Scope | None = None


def use_registry(registry: MetricsRegistry | Scope | None) -> None:
    """From now on the endpoints of this process that begin with ``metrics:`` count in ``registry``.

    It is asked for when a server listens; until one was given (and after None) that fails.
    """
    global _registry
    _registry = registry


def parse_server(reactor: Any, *args: str, **kwargs: str) -> MeasuredEndpoint:
    """The endpoint of ``metrics:ENDPOINT`` or ``metrics:as=NAME:ENDPOINT``, split at its colons.

    The numbers are those of ``measure_connections``, under ``connections.NAME``, or after the port as with
    MeasuredConnections: ``connections.8080``. Raises ValueError for a wrong ENDPOINT or NAME.
    """
    name = kwargs.pop("as", None)  # a word that no parser of endpoints can have for a parameter
    if name is not None:
        name = names.check(f"connections.{name}")
    arguments = [_quoted(each) for each in args] + [f"{_quoted(key)}={_quoted(kwargs[key])}" for key in kwargs]
    return MeasuredEndpoint(serverFromString(reactor, ":".join(arguments)), name)


def _quoted(text: str) -> str:
    for sign in "\\:=":
        text = text.replace(sign, f"\\{sign}")
    return text


@implementer(IStreamServerEndpoint)
class MeasuredEndpoint:
    """``endpoint``, whose factories are measured under ``name`` (None: ``connections`` and the port's)."""

    def __init__(self, endpoint: Any, name: str | None) -> None:
        self._endpoint = endpoint
        self._name = name

    def listen(self, factory: Any) -> Deferred[Any]:
        """Listen as ``endpoint`` does. Fails with RuntimeError if ``use_registry`` has named none."""
        registry = _registry
        if registry is None:
            return fail(
                RuntimeError(
                    "a metrics: endpoint has nowhere to count: run the server by twistd metrics, "
                    "or call txmetrics.instrument.use_registry(registry) before it listens"
                )
            )
        if self._name is not None:
            _care.attempt(measure_connections, factory, registry, self._name)
            return self._listen(factory)
        return self._listen(factory).addCallback(self._listening, factory, registry)

    def _listen(self, factory: Any) -> Deferred[Any]:
        listening: Deferred[Any] = self._endpoint.listen(factory)
        return listening

    def _listening(self, port: Any, factory: Any, registry: MetricsRegistry | Scope) -> Any:
        _care.attempt(lambda: measure_connections(factory, registry, f"connections.{port_name(port.getHost())}"))
        return port
