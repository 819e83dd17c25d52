"""The connection pool of an HTTP client: how many of its connections were open already when they were needed.

``getConnection`` is shadowed on the pool; several agents may share it, and each counts for as long as it is there.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from txmetrics.instrument._care import Care
from txmetrics.registry import Scope

__all__ = ["count_connections"]

WRAPPERS = 10
"""In so many agents around each other one with a pool is looked for."""


class Connections:
    """What a TimedAgent counts of its pool, for as long as there is that agent."""

    def __init__(self, scope: Scope, care: Care) -> None:
        self._new = scope.counter("connections.new")
        self._reused = scope.counter("connections.reused")
        self._care = care

    def got(self, *, new: bool) -> None:
        self._care.attempt((self._new if new else self._reused).inc)


def count_connections(agent: Any, scope: Scope, care: Care) -> Connections | None:
    """Count what the pool of ``agent`` gives, for as long as the answer is kept; None if no pool is to be seen."""
    pool = _pool_of(agent)
    if pool is None:
        return None
    watch = getattr(vars(pool).get("getConnection"), "__self__", None)
    if not isinstance(watch, _PoolWatch):
        watch = _PoolWatch(pool.getConnection)
        pool.getConnection = watch.getConnection
    connections = Connections(scope, care)
    watch.add(connections)
    return connections


def _pool_of(agent: Any) -> Any:
    """The pool of ``agent``, or of the one that it wraps; None if there is no pool of Twisted's."""
    from twisted.web.client import HTTPConnectionPool

    for _ in range(WRAPPERS):
        pool = getattr(agent, "_pool", None)
        if isinstance(pool, HTTPConnectionPool):
            return pool
        agent = getattr(agent, "_agent", None)
    return None


class _PoolWatch:
    """Stands before ``getConnection`` of one pool, which may belong to several agents."""

    def __init__(self, get: Any) -> None:
        self._get = get
        self._watching: tuple[ref[Connections], ...] = ()

    def add(self, connections: Connections) -> None:
        self._watching = (*(each for each in self._watching if each() is not None), ref(connections))

    def getConnection(self, key: Any, endpoint: Any) -> Any:
        watched = _WatchedEndpoint(endpoint, self)
        return self._get(key, watched).addCallback(watched.given)

    def tell(self, *, new: bool) -> None:
        for each in self._watching:
            connections = each()
            if connections is not None:
                connections.got(new=new)


@implementer(IStreamClientEndpoint)
class _WatchedEndpoint:
    """The endpoint of one request, which tells whether the pool needed it."""

    def __init__(self, endpoint: Any, watch: _PoolWatch) -> None:
        self._endpoint = endpoint
        self._watch = watch
        self._needed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_endpoint"), name)

    def __repr__(self) -> str:
        return repr(self._endpoint)

    def connect(self, protocolFactory: Any) -> Any:
        self._needed = True
        return self._endpoint.connect(protocolFactory).addCallback(self._connected)

    def given(self, connection: Any) -> Any:
        """The pool has given ``connection`` to the request."""
        if not self._needed:
            self._watch.tell(new=False)
        return connection

    def _connected(self, protocol: Any) -> Any:
        self._watch.tell(new=True)
        return protocol
